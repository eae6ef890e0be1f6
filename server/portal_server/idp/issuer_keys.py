"""The public keys of an issuer of access tokens (RFC 7517), fetched in the background.

No call waits for the issuer, and none makes the server send a request right away: an unknown key
is a reason to fetch earlier than usual, at most twice a minute. While the issuer does not
respond, the keys that are known stay valid for a day.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from portal_server.domain.errors import ProviderError
from portal_server.domain.provider import Provider, ProviderType
from portal_server.idp import urls
from portal_server.idp.access import Access
from portal_server.idp.calls import Call, Caller
from portal_server.idp.limits import Limits

log = logging.getLogger(__name__)

PERIOD_S = 300.0
"""How often the keys are fetched."""
MIN_PERIOD_S = 30.0
"""The shortest time between two fetches."""
KEPT_S = 86400.0
"""How long the keys are valid while the issuer does not respond."""
MAX_KEYS = 100
MIN_RSA_BITS = 2048
_WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key; `algorithm` is the only one that it is for, or "" for those of its type."""

    public_key: Any
    algorithm: str


class IssuerKeys:
    """The keys of one issuer. `url` is that of its keys; "" if its discovery document has it."""

    def __init__(self, issuer: str, url: str = "", *, allow_private: bool) -> None:
        self._url = url
        self._caller = Caller(allow_private=allow_private, limits=Limits())
        now = datetime.now(UTC)
        provider = Provider(
            id=0,
            uid="issuer",
            name=issuer,
            type=ProviderType.OTHER,
            well_known_uri=issuer.rstrip("/") + _WELL_KNOWN,
            tls_insecure_skip_verify=False,
            registration_access_token="",
            create_time=now,
            update_time=now,
        )
        self._access = Access(provider=provider)
        self._keys: Mapping[str, IssuerKey] = {}
        self._valid_until = 0.0
        self._failing = False
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="issuer-keys", daemon=True)

    @property
    def known(self) -> bool:
        """Whether there are valid keys."""
        return time.monotonic() < self._valid_until

    def find(self, key_id: str) -> IssuerKey | None:
        """The key with this `kid`; None if it is not known, and then it may be fetched soon."""
        found = self._keys.get(key_id) if self.known else None
        if found is None:
            self._wake.set()
        return found

    def start(self) -> None:
        """Start the thread that fetches."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        self._caller.connections.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            self.fetch()
            if self._stopped.wait(MIN_PERIOD_S):
                return
            self._wake.wait(0 if self._failing else PERIOD_S - MIN_PERIOD_S)

    def fetch(self) -> None:
        """Fetch the keys; those that are known stay if that fails."""
        try:
            with self._caller.call(self._access) as call:
                keys = self._read(call)
        except ProviderError as error:
            self._failed(error.message)
            return
        if keys is None:
            self._failed("the response is not a JWK set")
            return
        if not keys:
            # The issuer has removed its keys: they must not stay valid.
            self._failed("there is no usable key")
        elif self._failing:
            log.info("the keys of the issuer of access tokens were fetched again")
            self._failing = False
        self._keys, self._valid_until = keys, time.monotonic() + KEPT_S

    def _failed(self, problem: str) -> None:
        if not self._failing:
            log.warning("the keys of the issuer of access tokens cannot be fetched: %s", problem)
        self._failing = True

    def _read(self, call: Call) -> dict[str, IssuerKey] | None:
        """The usable keys; None if the response is not a JWK set (RFC 7517, section 5)."""
        document = _get(call, self._url or self._discovered(call))
        listed = document.get("keys")
        if not isinstance(listed, list):
            return None
        found = {}
        for each in listed[:MAX_KEYS]:
            key = _key(each)
            if key:
                found[each["kid"]] = key
        return found

    def _discovered(self, call: Call) -> str:
        document = _get(call, self._access.provider.well_known_uri)
        issuer = document.get("issuer")
        # RFC 8414, section 3.3.
        if issuer != self._access.provider.name:
            return ""
        url = document.get("jwks_uri")
        return url if isinstance(url, str) else ""


def _get(call: Call, text: str) -> Mapping[str, Any]:
    """The JSON object at a URL; an empty one if there is none. Raises: ProviderError."""
    url = urls.parse(text)
    if url is None:
        return {}
    response = call.get_following(url)
    document = response.json() if response.status == 200 else None  # noqa: PLR2004
    return document if isinstance(document, dict) else {}


def _key(given: Any) -> IssuerKey | None:
    """A key for signatures, if its type is asymmetric and its size sufficient."""
    if not isinstance(given, dict) or not isinstance(given.get("kid"), str):
        return None
    if given.get("kty") not in ("RSA", "EC", "OKP") or given.get("use", "sig") != "sig":
        return None
    if "d" in given:  # a private key, which others know
        return None
    try:
        public_key = jwt.PyJWK(given).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, NotImplementedError):
        return None
    if isinstance(public_key, RSAPublicKey) and public_key.key_size < MIN_RSA_BITS:
        return None
    algorithm = given.get("alg", "")
    return IssuerKey(public_key, algorithm) if isinstance(algorithm, str) else None
