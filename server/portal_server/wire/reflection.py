"""gRPC reflection: its services, and the descriptors that it serves, with comments."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection, reflection_pb2

from portal.oauth.v1 import errors_pb2

SERVICES: Final = (reflection.SERVICE_NAME.replace("v1alpha", "v1"), reflection.SERVICE_NAME)
"""The names of reflection: v1 and v1alpha differ in nothing else, and tools use either."""

# Next to the stubs. `importlib.resources` finds no files of an editable package.
DESCRIPTORS = Path(errors_pb2.__file__).parents[2] / "descriptors.binpb"


def add_reflection(server: grpc.Server, services: Sequence[str]) -> None:
    """Serve reflection of these services, health for example, and of itself."""
    servicer = reflection.ReflectionServicer((*services, *SERVICES), _reflection_pool())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, methods) for name in SERVICES]
    )


def _reflection_pool() -> descriptor_pool.DescriptorPool:
    """The default pool of descriptors, which also has comments and finds methods.

    The stubs have neither comments nor the JSON names of fields, so files are served from the
    descriptor set next to them.

    Reflection looks up the file of a symbol. A pool does that for every symbol except methods,
    for which `grpcurl describe portal.oauth.v1.ClientTypeService.CreateClientType` would fail.
    """
    return cast(descriptor_pool.DescriptorPool, _Pool())


class _Pool:
    """The methods of a pool that reflection uses."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._pool.Add(_v1())
        self._stored = _stored()
        self.FindMessageTypeByName = self._pool.FindMessageTypeByName
        self.FindExtensionByNumber = self._pool.FindExtensionByNumber
        self.FindAllExtensions = self._pool.FindAllExtensions

    def FindFileByName(self, name: str) -> "_File":  # noqa: N802
        return _File(self._pool.FindFileByName(name), self._stored)

    def FindFileContainingSymbol(self, symbol: str) -> "_File":  # noqa: N802
        try:
            file = self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            file = self._pool.FindMethodByName(symbol).containing_service.file
        return _File(file, self._stored)


class _File:
    """The parts of a file's descriptor that reflection uses."""

    def __init__(self, file: FileDescriptor, stored: Mapping[str, FileDescriptorProto]) -> None:
        self._file = file
        self._stored = stored
        self.name = file.name

    @property
    def dependencies(self) -> Sequence["_File"]:
        return [_File(file, self._stored) for file in self._file.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:  # noqa: N802
        if stored := self._stored.get(self.name):
            proto.CopyFrom(stored)
        else:
            self._file.CopyToProto(proto)


def _stored() -> Mapping[str, FileDescriptorProto]:
    """The files of the descriptor set; those of others without their long comments."""
    read = FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
    for file in read:
        if not file.name.startswith("portal/"):
            file.ClearField("source_code_info")
    return {file.name: file for file in read}


def _v1() -> FileDescriptorProto:
    """The file of v1, which grpcio does not have."""
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    return text_format.Parse(text, FileDescriptorProto())
