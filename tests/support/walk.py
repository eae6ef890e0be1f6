"""Every service and method of this project, found where the generated code is."""

from importlib import import_module
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

import portal.oauth.v1.provider_pb2

_PROTOS = Path(portal.oauth.v1.provider_pb2.__file__).parents[3]


def _modules() -> list[Any]:
    files = sorted(_PROTOS.glob("portal/**/*_pb2.py"))
    return [
        import_module(".".join(file.relative_to(_PROTOS).with_suffix("").parts)) for file in files
    ]


FILES: list[FileDescriptor] = [module.DESCRIPTOR for module in _modules()]
NATIVE = [file for file in FILES if file.package == "portal.oauth.v1"]
SERVICES: list[ServiceDescriptor] = [
    service
    for file in FILES
    for service in file.services_by_name.values()
    if not service.full_name.startswith("grpc.")
]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
NAMES = {service.full_name for service in SERVICES}


READS = ("Get", "List", "Preview", "Watch")
"""How the names of methods begin that change nothing."""
# One more: its request names a stored provider only.
_CHECK = "portal.rest.v1.PortalRestService.CheckProvider"


def is_read(name: str) -> bool:
    """Whether the method with this full name changes nothing."""
    return name == _CHECK or name.rpartition(".")[2].startswith(READS)


def role_of(name: str) -> str:
    """The least role that may call the method with this full name."""
    service, _, method = name.rpartition(".")
    if service.endswith((".ApiKeyService", ".AuditService")):
        return "admin"
    if is_read(name):
        return "viewer"
    is_of_clients = service.endswith(".ClientService") or method.endswith(
        ("Client", "ClientSecret")
    )
    return "registrar" if is_of_clients else "editor"


def method_id(method: MethodDescriptor | object) -> str | None:
    """What a test's name says of a method."""
    return method.full_name if isinstance(method, MethodDescriptor) else None


each_method = pytest.mark.parametrize("method", METHODS, ids=method_id)


def send(channel: grpc.Channel, method: MethodDescriptor, message: bytes = b"") -> Any:
    """Call a method with these very bytes; its response, or the list of its responses."""
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    stub: Any = kind(
        f"/{method.containing_service.full_name}/{method.name}",
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    response = stub(message, timeout=20)
    return list(response) if method.server_streaming else response


def status_of(channel: grpc.Channel, method: MethodDescriptor) -> grpc.StatusCode:
    """Call a method with an empty request; its status."""
    try:
        send(channel, method)
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code()
    return grpc.StatusCode.OK
