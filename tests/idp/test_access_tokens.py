"""Access tokens of an issuer: which are accepted, and when its keys are fetched."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portal_server.catalog.access_tokens import AccessTokens
from portal_server.catalog.keyring import KeyRing
from portal_server.domain.access_tokens import MAX_LENGTH, TokenRules, subject_id
from portal_server.domain.errors import Forbidden, PortalError, Unauthenticated, Unavailable
from portal_server.domain.keys import Role
from portal_server.idp import issuer_keys
from portal_server.idp.issuer_keys import IssuerKeys
from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.store import Store
from tests.support.catalog import CALL
from tests.support.databases import new_sqlite
from tests.support.issuer import AUDIENCE, Issuer, rsa, unsigned
from tests.support.providers.scripted import Scripted, http

ROLES = {"portal-admins": Role.ADMIN, "portal-editors": Role.EDITOR, "staff": Role.VIEWER}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Scripted() as server:
        issuer = Issuer(server)
        for kid, algorithm in (("k1", "RS256"), ("k2", "ES256"), ("k3", "EdDSA"), ("k4", "PS256")):
            issuer.add(kid, algorithm)
        yield issuer


@dataclass(frozen=True)
class Portal:
    """What verifies tokens, and its keys."""

    tokens: AccessTokens
    keys: IssuerKeys

    def role(self, token: str) -> Role:
        return self.tokens.verify(token)[0].role


def portal_of(issuer: Issuer, *, url: str = "", claim: tuple[str, ...] = ("roles",)) -> Portal:
    rules = TokenRules(issuer.url, (AUDIENCE,), claim, ROLES)
    keys = IssuerKeys(issuer.url, url, allow_private=True)
    return Portal(AccessTokens(rules, keys), keys)


@pytest.fixture(scope="module")
def portal(issuer: Issuer) -> Portal:
    found = portal_of(issuer)
    found.keys.fetch()
    return found


@pytest.mark.parametrize("kid", ["k1", "k2", "k3", "k4"])
def test_a_valid_token_has_its_role_its_subject_and_its_end(
    issuer: Issuer, portal: Portal, kid: str
) -> None:
    caller, left = portal.tokens.verify(issuer.token(kid))

    assert caller.role is Role.EDITOR
    assert caller.key_id == subject_id(issuer.url, "user-1")
    assert caller.key_id.startswith("jwt:")
    assert "user-1" not in caller.key_id
    assert 290 < left <= 300
    assert caller.expire_time
    assert abs(caller.expire_time.timestamp() - time.time() - 300) < 5


def test_the_id_of_a_subject_is_the_same_for_all_its_tokens(issuer: Issuer, portal: Portal) -> None:
    ids = {portal.tokens.verify(issuer.token(kid, jti=kid))[0].key_id for kid in ("k1", "k2")}
    [other] = {portal.tokens.verify(issuer.token(sub="user-2"))[0].key_id}

    assert len(ids) == 1
    assert other not in ids


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (["portal-admins"], Role.ADMIN),
        (["staff", "portal-editors", "other"], Role.EDITOR),
        ("openid staff", Role.VIEWER),
    ],
)
def test_the_widest_role_of_a_token_counts(
    issuer: Issuer, portal: Portal, roles: Any, role: Role
) -> None:
    assert portal.role(issuer.token(roles=roles)) is role


@pytest.mark.parametrize("roles", [None, [], ["other"], "", 7, {"staff": 1}, [["staff"], 1]])
def test_a_valid_token_without_a_role_is_forbidden(
    issuer: Issuer, portal: Portal, roles: Any
) -> None:
    with pytest.raises(Forbidden, match="no role for this portal in roles"):
        portal.tokens.verify(issuer.token(roles=roles))


def test_the_claim_with_the_roles_can_be_in_an_object(issuer: Issuer) -> None:
    portal = portal_of(issuer, claim=("realm_access", "roles"))
    portal.keys.fetch()

    assert portal.role(issuer.token(realm_access={"roles": ["staff"]})) is Role.VIEWER
    for wrong in ("staff", ["staff"], None):
        with pytest.raises(Forbidden):
            portal.tokens.verify(issuer.token(realm_access=wrong))


def bad_tokens(issuer: Issuer) -> dict[str, str]:
    """A token for each rule, valid except for that."""
    now = int(time.time())
    claims = issuer.claims()
    public, _ = issuer.private["k1"]
    pem = public.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = issuer.token()
    head, body, signature = good.split(".")
    stranger = Issuer(issuer.server)
    stranger.private["k1"] = (rsa(), "RS256")

    def hs256(secret: bytes, **header: Any) -> str:
        text = unsigned({"alg": "HS256", "typ": "at+jwt", "kid": "k1"} | header, claims)
        signed = text.rpartition(".")[0]
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        return unsigned({"alg": "HS256", "typ": "at+jwt", "kid": "k1"} | header, claims, mac)

    header = {"typ": "at+jwt", "kid": "k1"}
    return {
        "alg none": unsigned({"alg": "none", **header}, claims, b"x"),
        "alg None": unsigned({"alg": "None", **header}, claims, b"x"),
        "no alg": unsigned(header, claims, b"x"),
        "HS256 with the public key": hs256(pem),
        "HS256 with the JWK": hs256(json.dumps(issuer.keys["k1"]).encode()),
        "another algorithm than that of the key": issuer.token(headers={"kid": "k4"}),
        "the key of a stranger": stranger.token(),
        "a key in the header": stranger.token(headers={"jwk": issuer.keys["k1"]}),
        "a URL of keys in the header": stranger.token(headers={"jku": "https://evil.test/"}),
        "an unknown kid": issuer.token(headers={"kid": "unknown"}),
        "a kid that is not a text": unsigned({"alg": "RS256", **header, "kid": 7}, claims, b"x"),
        "no kid": unsigned({"alg": "RS256", "typ": "at+jwt"}, claims, b"x"),
        "an ID token": issuer.token(headers={"typ": "JWT"}),
        "no typ": unsigned({"alg": "RS256", "kid": "k1"}, claims, b"x"),
        "crit": issuer.token(headers={"crit": ["exp"], "exp": now}),
        "another issuer": issuer.token(iss="https://evil.test"),
        "an issuer with a slash": issuer.token(iss=issuer.url + "/"),
        "no issuer": issuer.token(iss=None),
        "another audience": issuer.token(aud="https://other.example"),
        "no audience": issuer.token(aud=None),
        "an empty audience": issuer.token(aud=[]),
        "a prefix of the audience": issuer.token(aud=AUDIENCE[:-1]),
        "expired": issuer.token(exp=now - 1),
        "expired long ago": issuer.token(exp=now - 10_000),
        "no exp": issuer.token(exp=None),
        "exp that is not a number": issuer.token(exp="tomorrow"),
        "not yet valid": issuer.token(nbf=now + 60),
        "issued in the future": issuer.token(iat=now + 60),
        "no iat": issuer.token(iat=None),
        "exp in milliseconds": issuer.token(exp=(now + 300) * 1000),
        "exp that is too large": issuer.token(exp=10**20),
        "exp that is larger than any float": issuer.token(exp=10**400),
        "exp that is infinite": issuer.token(exp=float("inf")),
        "no sub": issuer.token(sub=None),
        "an empty sub": issuer.token(sub=""),
        "a sub that is not Unicode": issuer.token(sub="\ud800"),
        "bound to a key": issuer.token(cnf={"jkt": "x"}),
        "another payload": ".".join(
            [head, unsigned({}, {**claims, "x": 1}).split(".")[1], signature]
        ),
        "a changed signature": good[:-8] + ("A" * 8),
        "no signature": f"{head}.{body}.",
        "claims that are a list": f"{head}.W10.{signature}",
        "a header that is a list": f"W10.{body}.{signature}",
        "a header of nested lists": f"{'W1tb' * 1200}.{body}.{signature}",
        "not base64": "a.b.c",
    }


def test_each_bad_token_is_rejected_in_the_same_words(issuer: Issuer, portal: Portal) -> None:
    texts = set()
    for name, token in bad_tokens(issuer).items():
        with pytest.raises(PortalError) as error:
            portal.tokens.verify(token)
        assert isinstance(error.value, Unauthenticated), name
        texts.add(error.value.message)

    assert len(texts) == 1


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_key_that_is_not_asymmetric_or_too_short_is_not_used() -> None:
    with Scripted() as server:
        other = Issuer(server)
        other.add("short", key=rsa(1024))
        other.add("good")
        other.keys["secret"] = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256"}
        other.keys["encrypts"] = {**other.keys["good"], "kid": "encrypts", "use": "enc"}
        other.keys["broken"] = {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}
        other.keys["none"] = {**other.keys["good"], "kid": "none", "alg": "none"}
        other.publish()
        server.responses["/jwks"] = http(200, {"keys": [1, {}, *other.keys.values()]})
        portal = portal_of(other)
        portal.keys.fetch()
        other.private |= dict.fromkeys(("encrypts", "none"), other.private["good"])

        assert portal.role(other.token("good")) is Role.EDITOR
        for kid in ("short", "encrypts", "none"):
            with pytest.raises(Unauthenticated):
                portal.tokens.verify(other.token(kid))
        assert portal.keys.find("secret") is None
        assert portal.keys.find("broken") is None


def test_a_stranger_cannot_make_the_server_fetch_keys(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "MIN_PERIOD_S", 0.5)
    before = issuer.fetched
    portal = portal_of(issuer)
    portal.keys.start()
    try:
        end = time.monotonic() + 1.7
        sent = 0
        while time.monotonic() < end:
            token = unsigned({"alg": "RS256", "typ": "at+jwt", "kid": f"{sent}"}, {}, b"x")
            with pytest.raises((Unauthenticated, Unavailable)):
                portal.tokens.verify(token)
            sent += 1
    finally:
        portal.keys.stop()

    assert sent > 100
    assert issuer.fetched - before <= 4


def test_a_new_key_is_used_soon_after_its_first_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issuer_keys, "MIN_PERIOD_S", 0.1)
    with Scripted() as server:
        issuer = Issuer(server)
        issuer.add("k1")
        portal = portal_of(issuer)
        portal.keys.start()
        try:
            wait(lambda: portal.keys.known)
            issuer.add("k9")
            token = issuer.token("k9")
            wait(lambda: accepts(portal, token))
        finally:
            portal.keys.stop()
        assert accepts(portal, issuer.token("k1"))


def accepts(portal: Portal, token: str) -> bool:
    try:
        portal.tokens.verify(token)
    except Unauthenticated:
        return False
    return True


def wait(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_known_keys_stay_valid_while_the_issuer_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Scripted() as server:
        issuer = Issuer(server)
        issuer.add("k1")
        portal = portal_of(issuer)
        portal.keys.fetch()
        no_sets: tuple[Any, ...] = (b"<html>", [], {}, {"keys": None}, {"keys": {}})
        for broken in (http(500, {}), http(500, {"keys": []}), *(http(200, x) for x in no_sets)):
            server.responses["/jwks"] = broken
            portal.keys.fetch()
            assert portal.role(issuer.token()) is Role.EDITOR
    portal.keys.fetch()  # no server at all
    assert portal.role(issuer.token()) is Role.EDITOR

    now = time.monotonic() + issuer_keys.KEPT_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(Unavailable):
        portal.tokens.verify(issuer.token())


@pytest.mark.parametrize("listed", [[], [{"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}]])
def test_keys_that_the_issuer_removed_are_not_valid(
    listed: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with Scripted() as server:
        issuer = Issuer(server)
        issuer.add("k1")
        portal = portal_of(issuer)
        portal.keys.fetch()
        assert accepts(portal, issuer.token())
        server.responses["/jwks"] = http(200, {"keys": listed})
        portal.keys.fetch()
        assert not accepts(portal, issuer.token())
        issuer.publish()
        portal.keys.fetch()
        assert accepts(portal, issuer.token())

    assert "there is no usable key" in caplog.text


def test_without_keys_a_token_is_neither_valid_nor_invalid(issuer: Issuer) -> None:
    portal = portal_of(issuer)
    with pytest.raises(Unavailable) as error:
        portal.tokens.verify(issuer.token())

    assert error.value.reason == "ISSUER_UNAVAILABLE"


def test_the_discovery_document_must_be_that_of_the_issuer() -> None:
    with Scripted() as server:
        issuer = Issuer(server)
        issuer.add("k1")
        document = {"issuer": "https://evil.test", "jwks_uri": f"{issuer.url}/jwks"}
        server.responses["/.well-known/openid-configuration"] = http(200, document)
        portal = portal_of(issuer)
        portal.keys.fetch()
        direct = portal_of(issuer, url=f"{issuer.url}/jwks")
        direct.keys.fetch()

    assert not portal.keys.known
    assert direct.role(issuer.token()) is Role.EDITOR


def test_the_keys_are_fetched_by_the_rules_for_providers() -> None:
    with Scripted() as server:
        issuer = Issuer(server)
        issuer.add("k1")
        rules = TokenRules(issuer.url, (AUDIENCE,), ("roles",), ROLES)
        keys = IssuerKeys(issuer.url, allow_private=False)
        keys.fetch()
        seen = len(server.seen)
        portal = Portal(AccessTokens(rules, keys), keys)
        server.responses["/jwks"] = http(200, b"[" + b"1," * (1 << 20) + b"1]")
        large = portal_of(issuer)
        large.keys.fetch()

    assert seen == 0
    assert not portal.keys.known
    assert not large.keys.known


def test_a_token_is_cached_for_a_second_at_most_until_it_expires(
    issuer: Issuer, portal: Portal, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(parse_url(new_sqlite(tmp_path / "p.db")))
    ring = KeyRing(Store(engine), tokens=portal.tokens)
    verified: list[str] = []
    verify = AccessTokens.verify

    def counted(tokens: AccessTokens, text: str) -> Any:
        verified.append(text)
        return verify(tokens, text)

    monkeypatch.setattr(AccessTokens, "verify", counted)
    now = int(time.time())
    token = issuer.token(exp=now + 2)
    callers = {ring.authenticate(CALL, [f"Bearer {token}"]) for _ in range(5)}
    often = len(verified)
    while time.time() < now + 2:
        time.sleep(0.02)
    with pytest.raises(Unauthenticated):
        ring.authenticate(CALL, [f"Bearer {token}"])
    engine.dispose()

    assert len(callers) == 1
    assert often == 1


def test_a_huge_token_is_not_verified(
    issuer: Issuer, portal: Portal, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(parse_url(new_sqlite(tmp_path / "p.db")))
    ring = KeyRing(Store(engine), tokens=portal.tokens)
    monkeypatch.setattr(AccessTokens, "verify", None)
    for token in (issuer.token(x="y" * MAX_LENGTH), "a." * 5000, "a.b.c.d.e"):
        with pytest.raises(Unauthenticated):
            ring.authenticate(CALL, [token])
    engine.dispose()
