"""Everything that the public protos define: messages, enums and their values."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor import FileDescriptor

from portal.oauth.v1 import (
    api_key_pb2,
    audit_pb2,
    client_pb2,
    client_type_pb2,
    errors_pb2,
    finding_pb2,
    provider_pb2,
    role_pb2,
    system_pb2,
    watch_pb2,
)
from portal.oauth.v1.api_key_pb2 import *  # noqa: F403
from portal.oauth.v1.audit_pb2 import *  # noqa: F403
from portal.oauth.v1.client_pb2 import *  # noqa: F403
from portal.oauth.v1.client_type_pb2 import *  # noqa: F403
from portal.oauth.v1.errors_pb2 import *  # noqa: F403
from portal.oauth.v1.finding_pb2 import *  # noqa: F403
from portal.oauth.v1.provider_pb2 import *  # noqa: F403
from portal.oauth.v1.role_pb2 import *  # noqa: F403
from portal.oauth.v1.system_pb2 import *  # noqa: F403
from portal.oauth.v1.watch_pb2 import *  # noqa: F403

FILES: Final[list[FileDescriptor]] = [
    api_key_pb2.DESCRIPTOR,
    audit_pb2.DESCRIPTOR,
    client_pb2.DESCRIPTOR,
    client_type_pb2.DESCRIPTOR,
    errors_pb2.DESCRIPTOR,
    finding_pb2.DESCRIPTOR,
    provider_pb2.DESCRIPTOR,
    role_pb2.DESCRIPTOR,
    system_pb2.DESCRIPTOR,
    watch_pb2.DESCRIPTOR,
]


def _names() -> Iterator[str]:
    for file in FILES:
        yield from file.message_types_by_name
        for enum in file.enum_types_by_name.values():
            yield enum.name
            yield from enum.values_by_name


# Type checkers take the names from the imports. At run time those bring a few more, such as the
# modules that the stubs import.
if not TYPE_CHECKING:
    __all__ = sorted(_names())  # noqa: PLE0605
