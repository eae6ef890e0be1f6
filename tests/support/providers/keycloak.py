"""A real Keycloak, which Maven copies into build/ once.

A kept database makes a start three times as fast: the folder of the first start stays.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

VERSION = "26.7.3"
REALM = "lab"
ACCOUNT, ACCOUNT_SECRET = "portal", "portal-secret"
CREATOR, CREATOR_SECRET = "creator", "creator-secret"
CALLER_SECRET = "caller-secret"  # noqa: S105 - of the tests
_ADMIN = "admin"
_ROOT = Path(__file__).parents[3]
_FOLDER = _ROOT / "build" / "providers" / "keycloak"
_HOME = _FOLDER / f"keycloak-{VERSION}"
_START_S = 240.0
_ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:tar.gz"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
# A lazier Java: it starts in half of the time.
_JAVA = {
    "JAVA_OPTS_GC": "-XX:+UseSerialGC",
    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
    "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx384m",
}


@dataclass(frozen=True)
class Keycloak:
    """A running Keycloak with a realm and two service accounts.

    `portal` may manage and view clients, `creator` may only create them.
    """

    url: str
    _kept: dict[str, float] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/{REALM}"

    @property
    def well_known(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    def admin(self, method: str, path: str, document: object = None) -> Any:
        """A call of the admin API of the realm."""
        token = self.administrator()
        response = httpx.request(
            method,
            f"{self.url}/admin/realms/{REALM}{path}",
            json=document,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        response.raise_for_status()
        return response.json() if response.content else None

    def administrator(self) -> str:
        """The access token of an administrator, of another realm; it lives for a minute."""
        for kept, end in self._kept.items():
            if time.monotonic() < end:
                return kept
        self._kept.clear()
        token: str = httpx.post(
            f"{self.url}/realms/master/protocol/openid-connect/token",
            data={
                "grant_type": "password",
                "client_id": "admin-cli",
                "username": _ADMIN,
                "password": _ADMIN,
            },
            timeout=60,
        ).json()["access_token"]
        self._kept[token] = time.monotonic() + 30
        return token

    def caller(self, client_id: str, audience: str, role: str, seconds: int = 300) -> None:
        """Create a client that calls an API, by the steps of docs/keys.md.

        Its tokens have this audience and role of the realm, and live this long.
        """
        client = _account(client_id, CALLER_SECRET) | {
            "attributes": {
                "access.token.header.type.rfc9068": "true",
                "access.token.lifespan": str(seconds),
            },
            "protocolMappers": [
                {
                    "name": "audience",
                    "protocol": "openid-connect",
                    "protocolMapper": "oidc-audience-mapper",
                    "config": {
                        "included.custom.audience": audience,
                        "access.token.claim": "true",
                    },
                }
            ],
        }
        for old in self.admin("GET", f"/clients?clientId={client_id}"):
            self.admin("DELETE", f"/clients/{old['id']}")
        self.admin("POST", "/clients", client)
        if all(one["name"] != role for one in self.admin("GET", "/roles")):
            self.admin("POST", "/roles", {"name": role})
        [created] = self.admin("GET", f"/clients?clientId={client_id}")
        user = self.admin("GET", f"/clients/{created['id']}/service-account-user")
        given = [self.admin("GET", f"/roles/{role}")]
        self.admin("POST", f"/users/{user['id']}/role-mappings/realm", given)

    def access_token(self, client_id: str, url: str = "") -> str:
        """An access token of such a client, from this address of Keycloak."""
        response = httpx.post(
            f"{url or self.url}/realms/{REALM}/protocol/openid-connect/token",
            data={"grant_type": "client_credentials"},
            auth=(client_id, CALLER_SECRET),
            timeout=60,
        )
        response.raise_for_status()
        token: str = response.json()["access_token"]
        return token

    def initial_access_token(self, count: int = 1) -> str:
        document = {"count": count, "expiration": 3600}
        token: str = self.admin("POST", "/clients-initial-access", document)["token"]
        return token


def _account(client_id: str, secret: str) -> dict[str, object]:
    return {
        "clientId": client_id,
        "secret": secret,
        "publicClient": False,
        "standardFlowEnabled": False,
        "serviceAccountsEnabled": True,
    }


def _user(client_id: str, *roles: str) -> dict[str, object]:
    return {
        "username": f"service-account-{client_id}",
        "enabled": True,
        "serviceAccountClientId": client_id,
        "clientRoles": {"realm-management": roles},
    }


def _install() -> None:
    if not _HOME.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        archive = _FOLDER / f"keycloak-quarkus-dist-{VERSION}.tar.gz"
        if not archive.exists():
            options = [f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={_FOLDER}"]
            subprocess.run(["mvn", "-q", "-B", _COPY, *options], check=True)
        subprocess.run(["tar", "xzf", archive.name], cwd=_FOLDER, check=True)
    realm = {
        "realm": REALM,
        "enabled": True,
        "sslRequired": "none",
        "clients": [_account(ACCOUNT, ACCOUNT_SECRET), _account(CREATOR, CREATOR_SECRET)],
        "users": [
            _user(ACCOUNT, "create-client", "manage-clients", "view-clients"),
            _user(CREATOR, "create-client"),
        ],
    }
    imported = _HOME / "data" / "import"
    imported.mkdir(parents=True, exist_ok=True)
    (imported / f"{REALM}.json").write_text(json.dumps(realm))


@contextmanager
def keycloak() -> Iterator[Keycloak]:
    """Run Keycloak; one process of the machine at a time does so, because of its database."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install()
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        command = [
            str(_HOME / "bin" / "kc.sh"),
            *("start-dev", "--import-realm", "--http-host=127.0.0.1", f"--http-port={port}"),
        ]
        environment = {
            **os.environ,
            **_JAVA,
            "KC_BOOTSTRAP_ADMIN_USERNAME": _ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": _ADMIN,
        }
        with (
            (_FOLDER / "log").open("w") as log,
            subprocess.Popen(
                command,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the script may keep Java as a child
            ) as process,
        ):
            try:
                running = Keycloak(f"http://127.0.0.1:{port}")
                _wait(process, running)
                yield running
            finally:
                os.killpg(process.pid, signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], running: Keycloak) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if httpx.get(running.well_known, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"Keycloak did not start: {_FOLDER / 'log'}")
