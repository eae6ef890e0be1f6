"""What a method needs: a role, and whether it waits for an identity provider.

A read needs any valid API key, a write the role that may write.
"""

from enum import Enum

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions

_WAITING = frozenset(
    {
        "/portal.oauth.v1.ClientService/CheckClient",
        "/portal.oauth.v1.ClientService/DeleteClient",
        "/portal.oauth.v1.ClientService/PreviewRegistration",
        "/portal.oauth.v1.ClientService/RegisterClient",
        "/portal.oauth.v1.ClientService/ResolveClient",
        "/portal.oauth.v1.ClientService/RotateClientSecret",
        "/portal.oauth.v1.ClientService/UpdateClient",
        "/portal.oauth.v1.ProviderService/CheckProvider",
        "/portal.rest.v1.PortalRestService/CheckProvider",
        "/portal.rest.v1.PortalRestService/CreateClient",
        "/portal.rest.v1.PortalRestService/DeleteClient",
        "/portal.rest.v1.PortalRestService/PreviewClient",
        "/portal.rest.v1.PortalRestService/RotateClientSecret",
        "/portal.rest.v1.PortalRestService/UpdateClient",
    }
)
_WAITING_IF_FORCED = frozenset(
    {
        "/portal.oauth.v1.ClientTypeService/DeleteClientType",
        "/portal.oauth.v1.ProviderService/DeleteProvider",
        "/portal.rest.v1.PortalRestService/DeleteClientType",
        "/portal.rest.v1.PortalRestService/DeleteProvider",
    }
)


class Waits(Enum):
    """When a method waits for an identity provider."""

    NEVER = 0
    IF_FORCED = 1
    ALWAYS = 2


def waits(path: str) -> Waits:
    """When the method with this path (`/package.Service/Method`) waits for a provider.

    `envoy.yaml` has a longer timeout for the same methods.
    """
    if path in _WAITING:
        return Waits.ALWAYS
    return Waits.IF_FORCED if path in _WAITING_IF_FORCED else Waits.NEVER


def is_write(path: str, pool: descriptor_pool.DescriptorPool | None = None) -> bool:
    """Whether the method with this path (`/package.Service/Method`) may change something.

    Only methods that declare `idempotency_level = NO_SIDE_EFFECTS` are reads. A method
    without a level, or without a descriptor, is a write: it must not be open to viewers.
    """
    symbol = path.lstrip("/").replace("/", ".")
    try:
        method = (pool or descriptor_pool.Default()).FindMethodByName(symbol)
    except KeyError:
        return True
    return bool(method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS)
