"""How a client reaches the portal: address, TLS, key, and what is tried again."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

TARGET: Final = "localhost:50051"
TIMEOUT_S: Final = 10.0

Metadata = tuple[tuple[str, str], ...]

_AUTHORIZATION: Final = "authorization"

# Every method may be tried again: reads change nothing, and each write carries a request id, by
# which the server knows it again (AIP-155). Only when the server was away or had no room: any other
# answer would be the same again. The call's timeout holds for all tries together (gRFC A6).
_SERVICE_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [
                {"service": "portal.oauth.v1.ProviderService"},
                {"service": "portal.oauth.v1.ClientTypeService"},
            ],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}
OPTIONS: Final[Sequence[tuple[str, str | int]]] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # The longest page is a little over the 4 MiB that gRPC takes unless it is told otherwise.
    ("grpc.max_receive_message_length", 16 << 20),
)


def check_key(key: str) -> None:
    """Raise ValueError for a key that no header can carry; it does not show the key."""
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the key has characters that are not printable ASCII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the server proves who it is, and who we are if it asks.

    Args:
        ca: a PEM file of the authorities to trust; None: those that gRPC ships.
        certificate: a PEM file with our certificate and the chain behind it, for mutual TLS.
        private_key: the PEM file of its key.
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
    """Where a channel goes to, and as whom.

    Args:
        target: `host:port`; None: the variable PORTAL_TARGET, or localhost:50051.
        key: an API key; None: the variable PORTAL_KEY.
        tls: False for none, True for TLS with the authorities that gRPC ships.

    Raises:
        ValueError: there is no key, or it has what no header can carry.
    """

    target: str | None = None
    key: str | None = field(default=None, repr=False)
    tls: Tls | bool = False

    def __post_init__(self) -> None:
        """Fill in what the environment says."""
        object.__setattr__(self, "target", self.target or os.environ.get("PORTAL_TARGET", TARGET))
        object.__setattr__(self, "key", self.key or os.environ.get("PORTAL_KEY"))
        if not self.key:
            raise ValueError("there is no key: give one, or set PORTAL_KEY")
        check_key(self.key)

    @property
    def address(self) -> str:
        """The target."""
        return str(self.target)

    @property
    def metadata(self) -> Metadata:
        """What each call carries: the key, unless the channel's credentials do."""
        # gRPC refuses call credentials on a channel that anybody can read.
        return () if self.tls else ((_AUTHORIZATION, str(self.key)),)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS with the key as call credentials; None without TLS. Raises: OSError."""
        if not self.tls:
            return None
        tls = self.tls if isinstance(self.tls, Tls) else Tls()
        key = grpc.metadata_call_credentials(_Key(str(self.key)), name="key")
        return grpc.composite_channel_credentials(tls.credentials(), key)


class _Key(grpc.AuthMetadataPlugin):
    """Sends the key with each call."""

    def __init__(self, key: str) -> None:
        self._metadata = ((_AUTHORIZATION, key),)

    def __call__(
        self, _context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        callback(self._metadata, None)
