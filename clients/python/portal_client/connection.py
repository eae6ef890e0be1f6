"""The connection of a client: address, TLS, API key and retries."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

TARGET: Final = "localhost:50051"
TIMEOUT_S: Final = 10.0
PROVIDER_WAIT_S: Final = 5.0
"""How much longer a call may take if it waits for an identity provider."""

Metadata = tuple[tuple[str, str], ...]

_AUTHORIZATION: Final = "authorization"

_PACKAGE: Final = "portal.oauth.v1"
_RETRIES: Final = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
}
# Reads change nothing, and each write has a request id, which makes it idempotent (AIP-155). Other
# statuses would recur. The timeout of a call includes its retries (gRFC A6).
_RETRIED: Final = {
    "name": [
        {"service": f"{_PACKAGE}.{service}"}
        for service in (
            "ProviderService",
            "ClientTypeService",
            "ClientService",
            "SystemService",
            "AuditService",
        )
    ],
    "retryPolicy": _RETRIES | {"retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]},
}
# Calls in which the response to a retry would hide the result of the first attempt: the clients of
# a provider that is already forgotten, or an unknown outcome at the provider.
_RETRIED_IF_NOT_BEGUN: Final = {
    "name": [
        {"service": f"{_PACKAGE}.{service}", "method": method}
        for service, method in (
            ("ProviderService", "ForgetProvider"),
            ("ClientService", "UpdateClient"),
            ("ClientService", "RotateClientSecret"),
            ("ClientService", "ResolveClient"),
        )
    ],
    "retryPolicy": _RETRIES | {"retryableStatusCodes": ["RESOURCE_EXHAUSTED"]},
}
_SERVICE_CONFIG: Final = {"methodConfig": [_RETRIED, _RETRIED_IF_NOT_BEGUN]}
OPTIONS: Final[Sequence[tuple[str, str | int]]] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # The longest page is a little over the default limit of gRPC, 4 MiB.
    ("grpc.max_receive_message_length", 16 << 20),
    # Detects a server that is gone while a stream is open.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


def check_key(key: str) -> None:
    """Raise ValueError for an API key that a header cannot carry. The text does not contain it."""
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key has characters that are not printable ASCII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS settings, each a PEM file.

    Args:
        ca: CA certificates to trust; None: those that gRPC ships.
        certificate: client certificate with its chain, for mutual TLS.
        private_key: private key of the client certificate.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    private_key: Path | str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises: OSError."""
        ca, certificate, private_key = (
            Path(file).read_bytes() if file else None
            for file in (self.ca, self.certificate, self.private_key)
        )
        return grpc.ssl_channel_credentials(ca, private_key, certificate)


@dataclass(frozen=True, slots=True)
class Connection:
    """The parameters of a channel.

    Attributes:
        target: `host:port`.
        key: the API key.
        tls: False for plaintext, True for TLS with the CA certificates that gRPC ships.
    """

    target: str
    key: str = field(repr=False)
    tls: Tls | bool

    @classmethod
    def resolve(cls, target: str | None, key: str | None, *, tls: Tls | bool) -> "Connection":
        """Replace None with PORTAL_TARGET, or else localhost:50051, and with PORTAL_KEY.

        Raises:
            ValueError: the API key is missing, or a header cannot carry it.
        """
        target = target or os.environ.get("PORTAL_TARGET", TARGET)
        key = key or os.environ.get("PORTAL_KEY")
        if not key:
            raise ValueError("no API key: pass key, or set PORTAL_KEY")
        check_key(key)
        return cls(target, key, tls)

    @property
    def metadata(self) -> Metadata:
        """The metadata of each call: the API key, unless the credentials of the channel have it."""
        # gRPC rejects call credentials on a plaintext channel.
        return () if self.tls else ((_AUTHORIZATION, self.key),)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS with the API key as call credentials; None for plaintext. Raises: OSError."""
        if not self.tls:
            return None
        tls = self.tls if isinstance(self.tls, Tls) else Tls()
        key = grpc.metadata_call_credentials(_Key(self.key), name="key")
        return grpc.composite_channel_credentials(tls.credentials(), key)


class _Key(grpc.AuthMetadataPlugin):
    """Sends the API key with each call."""

    def __init__(self, key: str) -> None:
        self._metadata = ((_AUTHORIZATION, key),)

    def __call__(
        self, _context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        callback(self._metadata, None)
