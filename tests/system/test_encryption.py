"""Where encryption keys come from, what a start requires, and a change of the key."""

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.postgres import Postgres
from tests.support.stack import Stack, portal, soon
from tests.system.test_restart import Restarts, hang_up

PROVIDER = {"Name": "p", "Type": "Keycloak", "WellKnownURL": "https://idp.test/x"}
TOKEN = "the-registration-token"  # noqa: S105
SECRET = "the-client-secret"  # noqa: S105
WITH_SECRETS = PROVIDER | {
    "RegistrationAccessToken": TOKEN,
    "CredentialType": "ClientCredentials",
    "CredentialClientID": "portal",
    "CredentialClientSecret": SECRET,
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not started."""
    stack = Stack(tmp_path)
    yield stack
    if stack.process:
        stack.stop()


def key_file(stack: Stack) -> Path:
    return stack.folder / "encryption.key"


def create(rest: httpx.Client) -> int:
    return int(rest.post("/oauth-providers", json=WITH_SECRETS).raise_for_status().json()["ID"])


def data(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("portal.db*"))


def new_key() -> str:
    return portal("encryption", "new-key").stdout.strip()


def test_a_development_start_creates_a_key_and_the_data_has_no_secret(own: Stack) -> None:
    own.start()
    with own.client() as rest:
        id_ = create(rest)
        rest.put(f"/oauth-providers/{id_}", json=PROVIDER | {"Name": "other"}).raise_for_status()
        running = data(own.folder)
    own.stop()
    key = key_file(own).read_text()
    stopped = data(own.folder)
    printed = own.out.read_text() + own.err.read_text()
    own.start()
    with own.client() as rest:
        # Kept by the update and by the restart: it is required, and not given.
        again = rest.put(
            f"/oauth-providers/{id_}",
            json=PROVIDER | {"CredentialType": "ClientCredentials", "CredentialClientID": "i"},
        )

    assert stat.S_IMODE(key_file(own).stat().st_mode) == 0o600
    assert again.status_code == 200
    assert key_file(own).read_text() == key
    assert f"Secrets    encrypted with the key in {key_file(own)}" in printed
    assert key.strip() not in printed
    for secret in (TOKEN, SECRET, key.strip()):
        assert secret.encode() not in running + stopped


def test_without_a_key_a_start_serves_and_secrets_are_rejected(own: Stack) -> None:
    own.settings["PORTAL_DEVELOPMENT"] = "false"
    own.start()
    with own.client() as rest:
        response = rest.post("/oauth-providers", json=WITH_SECRETS)
        plain = rest.post("/oauth-providers", json=PROVIDER)

    assert not key_file(own).exists()
    assert "none can be stored: set PORTAL_ENCRYPTION_KEYS" in own.out.read_text()
    assert (response.status_code, plain.status_code) == (400, 200)
    assert "PORTAL_ENCRYPTION_KEYS" in response.text
    assert TOKEN not in response.text


@pytest.mark.parametrize("development", ["true", "false"])
def test_a_start_without_the_key_of_the_secrets_ends_with_one_line(
    own: Stack, development: str
) -> None:
    own.start()
    with own.client() as rest:
        create(rest)
    own.stop()
    key_file(own).unlink()
    own.settings["PORTAL_DEVELOPMENT"] = development
    database = own.folder / "portal.db"
    before = database.read_bytes()
    for command in ("up", "serve", "migrate"):
        done = portal(command, **own.settings | {"PORTAL_DIRECT_GRPC_PORT": "0"})
        [line] = [line for line in done.stderr.splitlines() if line.startswith("portal: ")]

        assert done.returncode == 1
        assert "secrets that are encrypted with the key" in line

    assert not key_file(own).exists()
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("{key}", 0o644, "can be read by others: set its mode to 0600"),
        ("{key}", 0o640, "can be read by others: set its mode to 0600"),
        ("", 0o600, "has no key"),
        ("{key}\nAAAA", 0o600, "line 2 is not the base64 of 32 bytes"),
        ("é", 0o600, "is not a file with one key per line"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_reported_without_its_text(
    own: Stack, text: str, mode: int, problem: str
) -> None:
    key = new_key()
    key_file(own).write_text(text.format(key=key))
    key_file(own).chmod(mode)
    done = portal("migrate", **own.settings)

    assert done.returncode == 1
    assert f"portal: PORTAL_ENCRYPTION_KEYS_FILE: {key_file(own)}" in done.stderr
    assert problem in done.stderr
    assert key not in done.stderr


def test_secrets_are_encrypted_again_while_servers_run(own: Stack) -> None:
    own.start()
    old = key_file(own).read_text().strip()
    with own.client() as rest:
        created = [create(rest) for _ in range(3)]
        new = new_key()
        key_file(own).write_text(f"{new}\n{old}\n")
        first = portal("encryption", "rotate", **own.settings)
        second = portal("encryption", "rotate", **own.settings)
    own.stop()
    # The running servers had the old key only; the new ones need the new one only.
    key_file(own).write_text(f"{new}\n")
    own.start()
    with own.client() as rest:
        kept = [
            rest.put(
                f"/oauth-providers/{id_}",
                json=PROVIDER | {"CredentialType": "ClientCredentials", "CredentialClientID": "i"},
            ).status_code
            for id_ in created
        ]

    assert first.stdout == "provider: 6 secrets encrypted\nclient: 0 secrets encrypted\n"
    assert second.stdout == "provider: 0 secrets encrypted\nclient: 0 secrets encrypted\n"
    assert kept == [200] * 3


class Writers:
    """Callers that store secrets until they are stopped."""

    def __init__(self, own: Stack) -> None:
        self._own = own
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(6)
        self.written = 0
        self.errors: list[str] = []
        self._calls = [self._pool.submit(self._write) for _ in range(6)]

    def _write(self) -> None:
        with self._own.client() as rest:
            id_ = create(rest)
            while not self._stop.is_set():
                # A PUT without the secret opens the stored one, and one with it stores a new one.
                for body in (WITH_SECRETS, WITH_SECRETS | {"CredentialClientSecret": ""}):
                    response = rest.put(f"/oauth-providers/{id_}", json=body)
                    if response.status_code == httpx.codes.OK:
                        self.written += 1
                    else:
                        self.errors.append(response.text)

    def stop(self) -> None:
        self._stop.set()
        for call in self._calls:
            call.result()
        self._pool.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_key_is_replaced_under_load_without_an_error(tmp_path: Path, postgres: Postgres) -> None:
    own = Stack(
        tmp_path,
        PORTAL_WORKERS="2",
        PORTAL_DATABASE_URL=postgres.new_database(f"rotated_{os.getpid()}"),
    )
    old, new = new_key(), new_key()
    (tmp_path / "encryption.key").write_text(f"{old}\n")
    (tmp_path / "encryption.key").chmod(0o600)
    own.start()
    log = Restarts(own)
    writers = Writers(own)
    try:
        counts = []
        for number, keys in enumerate(((old, new), (new, old), (new,)), 1):
            (tmp_path / "encryption.key").write_text("\n".join(keys))
            hang_up(own)
            assert soon(lambda: log.done == number, 60), own.err.read_text()[-2000:]  # noqa: B023
            written = writers.written
            assert soon(lambda: writers.written > written + 20, 20)  # noqa: B023
            if keys == (new, old):
                counts += [portal("encryption", "rotate", **own.settings).stdout for _ in "12"]
    finally:
        writers.stop()
        own.stop()
    checked = portal("check", **own.settings)
    (tmp_path / "encryption.key").write_text(f"{old}\n")
    wrong = portal("serve", **own.settings | {"PORTAL_DIRECT_GRPC_PORT": "0"})
    [line] = [line for line in wrong.stderr.splitlines() if line.startswith("portal: ")]

    assert writers.errors == []
    assert counts[1] == "provider: 0 secrets encrypted\nclient: 0 secrets encrypted\n"
    assert checked.returncode == 0, checked.stdout
    assert wrong.returncode == 1
    assert "secrets that are encrypted with the key" in line


def test_rotation_needs_a_key(own: Stack) -> None:
    done = portal("encryption", "rotate", **own.settings)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "portal: no encryption key: set PORTAL_ENCRYPTION_KEYS\n"


def test_new_keys_differ_and_can_be_used_at_once(own: Stack) -> None:
    keys = [new_key() for _ in range(2)]
    given = {"PORTAL_ENCRYPTION_KEYS": ",".join(keys), "PORTAL_ENCRYPTION_KEYS_FILE": ""}
    done = portal("migrate", **own.settings | given)

    assert len(set(keys)) == 2
    assert done.returncode == 0, done.stderr
