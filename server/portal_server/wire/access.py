"""What each method needs: a role, and whether it waits for an identity provider.

A method that is not listed here needs the role `admin`; a test fails then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions

from portal_server.domain.keys import Role


class Waits(Enum):
    """When a method waits for an identity provider.

    `envoy.yaml` has a longer timeout for the methods that do.
    """

    NEVER = 0
    IF_FORCED = 1
    ALWAYS = 2


@dataclass(frozen=True, slots=True)
class Access:
    """The role that a method needs, when it waits, and whether its call stays open after it."""

    role: Role
    waits: Waits = Waits.NEVER
    stays_open: bool = False


_READ = Access(Role.VIEWER)
_WAITING_READ = Access(Role.VIEWER, Waits.ALWAYS)
_REGISTER = Access(Role.REGISTRAR, Waits.ALWAYS)
_EDIT = Access(Role.EDITOR)
_DELETE = Access(Role.EDITOR, Waits.IF_FORCED)
_ADMINISTER = Access(Role.ADMIN)

METHODS: Mapping[str, Mapping[str, Access]] = {
    "portal.oauth.v1.ProviderService": {
        "CreateProvider": _EDIT,
        "GetProvider": _READ,
        "ListProviders": _READ,
        "UpdateProvider": _EDIT,
        "DeleteProvider": _DELETE,
        # Its request may have a URL to connect to.
        "CheckProvider": Access(Role.EDITOR, Waits.ALWAYS),
        "ForgetProvider": _EDIT,
    },
    "portal.oauth.v1.ClientTypeService": {
        "CreateClientType": _EDIT,
        "GetClientType": _READ,
        "ListClientTypes": _READ,
        "UpdateClientType": _EDIT,
        "DeleteClientType": _DELETE,
    },
    "portal.oauth.v1.ClientService": {
        "PreviewRegistration": _WAITING_READ,
        "RegisterClient": _REGISTER,
        "GetClient": _READ,
        "ListClients": _READ,
        "UpdateClient": _REGISTER,
        "DeleteClient": _REGISTER,
        "RotateClientSecret": _REGISTER,
        "CheckClient": _REGISTER,
        "ResolveClient": _REGISTER,
    },
    "portal.oauth.v1.ApiKeyService": {
        "CreateApiKey": _ADMINISTER,
        "GetApiKey": _ADMINISTER,
        "ListApiKeys": _ADMINISTER,
        "UpdateApiKey": _ADMINISTER,
        "RotateApiKey": _ADMINISTER,
        "RevokeApiKey": _ADMINISTER,
    },
    "portal.oauth.v1.AuditService": {
        "ListAuditEvents": _ADMINISTER,
    },
    "portal.oauth.v1.WatchService": {
        "Watch": Access(Role.VIEWER, stays_open=True),
    },
    "portal.oauth.v1.SystemService": {
        "GetServerInfo": _READ,
    },
    "portal.rest.v1.PortalRestService": {
        "ListProviders": _READ,
        "CreateProvider": _EDIT,
        "GetProvider": _READ,
        "UpdateProvider": _EDIT,
        "DeleteProvider": _DELETE,
        "ListClientTypes": _READ,
        "CreateClientType": _EDIT,
        "GetClientType": _READ,
        "UpdateClientType": _EDIT,
        "DeleteClientType": _DELETE,
        # Its request names a stored provider only.
        "CheckProvider": _WAITING_READ,
        "PreviewClient": _WAITING_READ,
        "ListClients": _READ,
        "CreateClient": _REGISTER,
        "GetClient": _READ,
        "UpdateClient": _REGISTER,
        "DeleteClient": _REGISTER,
        "RotateClientSecret": _REGISTER,
    },
}


def access(path: str) -> Access:
    """What the method with this path (`/package.Service/Method`) needs."""
    service, _, method = path.lstrip("/").partition("/")
    return METHODS.get(service, {}).get(method, _ADMINISTER)


def is_write(path: str, pool: descriptor_pool.DescriptorPool | None = None) -> bool:
    """Whether the method with this path (`/package.Service/Method`) may change something.

    Only methods that declare `idempotency_level = NO_SIDE_EFFECTS` are reads. A method
    without a level, or without a descriptor, is a write.
    """
    symbol = path.lstrip("/").replace("/", ".")
    try:
        method = (pool or descriptor_pool.Default()).FindMethodByName(symbol)
    except KeyError:
        return True
    return bool(method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS)
