"""An issuer of access tokens: its keys over a real socket, and tokens of any kind."""

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.providers.scripted import Scripted, http

AUDIENCE = "https://portal.example"
ROLES = "portal-admins=admin,portal-editors=editor,staff=viewer"


def rsa(bits: int = 2048) -> Any:
    return generate_rsa(public_exponent=65537, key_size=bits)


@dataclass
class Issuer:
    """Serves the public keys `keys`, by `kid`; `private` has the private ones."""

    server: Scripted
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    private: dict[str, tuple[Any, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    def add(self, kid: str, algorithm: str = "RS256", key: Any = None) -> None:
        """Create a key, or add this one, and publish it."""
        kind: Any = {"E": ECAlgorithm, "R": RSAAlgorithm, "P": RSAAlgorithm}.get(algorithm[0])
        if algorithm == "EdDSA":
            kind, key = OKPAlgorithm, key or Ed25519PrivateKey.generate()
        elif algorithm.startswith("ES"):
            key = key or generate_private_key(SECP256R1())
        key = key or rsa()
        self.private[kid] = key, algorithm
        self.keys[kid] = json.loads(kind.to_jwk(key.public_key())) | {"kid": kid, "alg": algorithm}
        self.publish()

    def publish(self) -> None:
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        self.server.responses["/.well-known/openid-configuration"] = http(200, document)
        self.server.responses["/jwks"] = http(200, {"keys": list(self.keys.values())})

    @property
    def fetched(self) -> int:
        """How often the keys were requested."""
        return len([one for one in self.server.seen if one.target == "/jwks"])

    def token(self, kid: str = "k1", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A valid token, except for these headers and claims; None leaves a claim out."""
        key, algorithm = self.private[kid]
        head = {"kid": kid, "typ": "at+jwt"} | (headers or {})
        body = {
            name: value for name, value in (self.claims() | claims).items() if value is not None
        }
        return jwt.encode(body, key, algorithm=algorithm, headers=head)

    def claims(self) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "user-1",
            "client_id": "app",
            "iat": now,
            "exp": now + 300,
            "jti": f"{now}",
            "roles": ["portal-editors"],
        }


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token with any header, and this signature."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
