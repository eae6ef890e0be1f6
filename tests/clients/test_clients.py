"""Registered clients in the Python client and on the command line."""

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from portal_cli.errors import Exit
from portal_client import (
    CLIENT_RESOLUTION_ADOPT,
    CLIENT_STATE_ACTIVE,
    CLIENT_STATE_UNKNOWN,
    ERROR_REASON_PROVIDER_REJECTED,
    PROVIDER_TYPE_OTHER,
    AsyncPortal,
    Client,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Portal,
    Provider,
    Unavailable,
    Unimplemented,
)
from portal_server.domain.client import ClientState
from portal_server.domain.discovery import CheckOutcome, Finding, FindingSeverity, ProviderCheck
from portal_server.domain.errors import (
    NotSent,
    OutcomeUnknown,
    Reason,
    Rejected,
)
from portal_server.domain.errors import Unimplemented as NotImplementedThere
from tests.clients.command import Command
from tests.support.fake_clients import CLIENT_TYPE, PROVIDER, SECRET, TOKEN, Served, served
from tests.support.stack import ADMIN_KEY

CLIENT = Client(name="Checkout", redirect_uris=["https://a.test/cb"], labels={"application": "7"})
REGISTER = ("clients", "register", "1", "2", "--name=Checkout", "--label=application=7")


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture
def server(module_server: Served) -> Served:
    module_server.fake.reset()
    return module_server


@pytest.fixture
def portal(server: Served) -> Iterator[Portal]:
    with Portal(f"127.0.0.1:{server.grpc_port}", key=ADMIN_KEY) as connected:
        yield connected


@pytest.fixture
def command(server: Served) -> Command:
    return Command(f"127.0.0.1:{server.grpc_port}", PORTAL_KEY=ADMIN_KEY)


def test_a_client_is_registered_changed_rotated_and_deleted(portal: Portal) -> None:
    registered = portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT)
    client = registered.client
    client.name = "New"
    updated = portal.update_client(client, fields=["name"])
    rotated = portal.rotate_client_secret(PROVIDER, client.id, etag=updated.etag)
    listed = list(portal.list_clients(PROVIDER, client_type_id=CLIENT_TYPE, page_size=1))
    portal.delete_client(PROVIDER, client.id, force=True)

    assert (registered.client_secret, rotated.client_secret) == (SECRET, f"{SECRET}-2")
    assert (updated.name, [one.name for one in listed]) == ("New", ["New"])
    with pytest.raises(NotFound):
        portal.get_client(PROVIDER, client.id)


def test_a_registration_has_a_request_id(server: Served, portal: Portal) -> None:
    portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT)
    portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT, request_id="x")
    portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT, request_id="x")

    assert all(call.idempotency for name, call in server.fake.calls if name == "register")
    assert len(server.fake.stored) == 2


def test_a_preview_and_the_checks_are_returned(portal: Portal) -> None:
    preview = portal.preview_registration(PROVIDER, CLIENT_TYPE, CLIENT)
    stored = portal.check_provider(PROVIDER)
    given = portal.check_provider(
        Provider(name="x", type=PROVIDER_TYPE_OTHER, well_known_uri="https://idp.test/x")
    )

    assert preview.metadata["client_name"] == "Checkout"
    assert [check.name for check in stored.checks] == ["discovery", "credential"]
    assert given.ok


def test_a_client_is_resolved_and_checked(portal: Portal) -> None:
    client = portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT).client
    resolved = portal.resolve_client(
        PROVIDER, client.id, CLIENT_RESOLUTION_ADOPT, registration_access_token=TOKEN
    )

    assert resolved.state == CLIENT_STATE_ACTIVE
    assert portal.check_client(PROVIDER, client.id).HasField("verify_time")
    [forgotten] = portal.forget_provider(PROVIDER)
    assert forgotten.client_id == client.client_id


def test_an_unknown_outcome_is_a_state(server: Served, portal: Portal) -> None:
    server.fake.state = ClientState.UNKNOWN

    registered = portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT)
    assert (registered.client.state, registered.client_secret) == (CLIENT_STATE_UNKNOWN, "")


def test_a_rejection_has_the_text_of_the_provider(server: Served, portal: Portal) -> None:
    server.fake.error = Rejected(
        Reason.PROVIDER_REJECTED, "t", http_status=400, error="invalid", description="not allowed"
    )
    with pytest.raises(FailedPrecondition, match="not allowed") as error:
        portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT)

    assert error.value.reason == ERROR_REASON_PROVIDER_REJECTED
    assert error.value.metadata == {
        "http_status": "400",
        "error": "invalid",
        "error_description": "not allowed",
    }


def test_a_missing_feature_and_a_slow_provider_have_their_own_exceptions(
    server: Served, portal: Portal
) -> None:
    server.fake.error = NotImplementedThere(Reason.ROTATION_NOT_SUPPORTED, "t")
    with pytest.raises(Unimplemented):
        portal.rotate_client_secret(PROVIDER, 1)
    server.fake.error = OutcomeUnknown(Reason.PROVIDER_TIMEOUT, "t")
    with pytest.raises(DeadlineExceeded):
        portal.update_client(Client(provider_id=PROVIDER, id=1, name="x"))


@pytest.mark.parametrize(
    ("name", "attempts"), [("register", 5), ("delete", 5), ("update", 1), ("rotate", 1)]
)
def test_a_change_whose_outcome_is_unknown_is_not_retried(
    server: Served, portal: Portal, name: str, attempts: int
) -> None:
    server.fake.error = NotSent(Reason.PROVIDER_UNREACHABLE, "t")
    calls: dict[str, Any] = {
        "register": lambda: portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT),
        "delete": lambda: portal.delete_client(PROVIDER, 1),
        "update": lambda: portal.update_client(Client(provider_id=PROVIDER, id=1, name="x")),
        "rotate": lambda: portal.rotate_client_secret(PROVIDER, 1),
    }
    with pytest.raises(Unavailable):
        calls[name]()

    assert [called for called, _ in server.fake.calls] == [name] * attempts


def test_the_asynchronous_client_has_every_method(server: Served) -> None:
    async def live() -> list[Any]:
        async with AsyncPortal(f"127.0.0.1:{server.grpc_port}", key=ADMIN_KEY) as portal:
            registered = await portal.register_client(PROVIDER, CLIENT_TYPE, CLIENT)
            client = registered.client
            client.name = "New"
            await portal.update_client(client)
            await portal.check_client(PROVIDER, client.id)
            await portal.resolve_client(PROVIDER, client.id, CLIENT_RESOLUTION_ADOPT)
            rotated = await portal.rotate_client_secret(PROVIDER, client.id)
            names = [one.name async for one in portal.list_clients(PROVIDER)]
            preview = await portal.preview_registration(PROVIDER, CLIENT_TYPE, CLIENT)
            checked = await portal.check_provider(PROVIDER)
            got = await portal.get_client(PROVIDER, client.id)
            forgotten = await portal.forget_provider(PROVIDER)
            await portal.delete_client(PROVIDER, client.id)
            await portal.delete_provider(PROVIDER, force=True)
            await portal.delete_client_type(PROVIDER, CLIENT_TYPE, force=True)
            counts = len(preview.findings), len(checked.checks), len(forgotten)
            return [rotated.client_secret, names, got.name, counts]

    assert asyncio.run(live()) == [f"{SECRET}-2", ["New"], "New", (1, 2, 1)]


def test_the_secret_is_shown_once_with_a_warning(command: Command) -> None:
    table = command(*REGISTER)
    result = json.loads(command("-o", "json", *REGISTER).stdout)
    as_yaml = yaml.safe_load(command("-o", "yaml", *REGISTER).stdout)

    assert SECRET in table.stdout
    assert SECRET not in table.stderr
    assert "only once" in table.stderr
    assert "warning: grant_types: Keycloak ignores it (RFC 9700, section 2.4)" in table.stderr
    assert result["client_secret"] == as_yaml["client_secret"] == SECRET
    assert (result["state"], result["labels"]) == ("active", {"application": "7"})
    assert result["requested"]["grant_types"] == ["implicit"]
    assert list(result["requested"]) == sorted(result["requested"])
    assert not [line for line in table.stdout.splitlines() if line != line.rstrip()]
    assert result["verify_time"] is None
    [difference] = result["differences"]
    assert difference["granted"] == "[]"
    assert SECRET not in command("clients", "get", "1", "1").stdout
    assert "client_secret" not in command.json("clients", "get", "1", "1")


def test_the_secret_goes_to_a_file_that_only_its_owner_reads(
    server: Served, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    done = command(*REGISTER, f"--secret-file={file}")
    rotated = command("clients", "rotate", "1", "1", f"--secret-file={tmp_path}/second")
    update = ("clients", "update", "1", "1", "--name=x", f"--secret-file={tmp_path}/third")
    command(*update)
    assert not (tmp_path / "third").exists()
    server.fake.new_secret = f"{SECRET}-3"
    updated = command(*update)
    shown = command.json(*update[:-1])

    assert file.read_text() == f"{SECRET}\n"
    assert (tmp_path / "second").read_text() == f"{SECRET}-2\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (tmp_path / "third").read_text() == f"{SECRET}-3\n"
    assert shown["client_secret"] == f"{SECRET}-3"
    assert "new_client_secret" not in shown
    for output in (done, rotated, updated):
        assert SECRET not in output.stdout + output.stderr


def test_a_provider_that_cannot_rotate_is_not_an_old_portal(
    server: Served, command: Command
) -> None:
    command(*REGISTER)
    server.fake.error = NotImplementedThere(Reason.ROTATION_NOT_SUPPORTED, "only an account can")
    done = command("clients", "rotate", "1", "1", code=1)

    assert done.stderr == "portal: only an account can\n"


def test_an_existing_file_is_an_error_before_anything_is_registered(
    server: Served, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("kept")
    done = command(*REGISTER, f"--secret-file={file}", code=1)

    assert "exists" in done.stderr
    assert file.read_text() == "kept"
    assert server.fake.calls == []


def test_no_file_stays_without_a_secret(server: Served, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    server.fake.state = ClientState.UNKNOWN
    unknown = command(*REGISTER, f"--secret-file={file}", code=1)
    assert unknown.stderr.endswith("portal: client 1 is unknown: the connection was lost\n")
    assert "unknown" in unknown.stdout
    assert not file.exists()
    server.fake.error = Rejected(Reason.PROVIDER_REJECTED, "t", description="not allowed")
    done = command(*REGISTER, f"--secret-file={file}", code=1)

    assert done.stderr == "portal: not allowed\n"
    assert not file.exists()


def test_a_client_is_listed_changed_checked_resolved_and_deleted(
    server: Served, command: Command, tmp_path: Path
) -> None:
    command(*REGISTER)
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    listed = command("clients", "list", "1", "--client-type=2").stdout
    updated = command.json("clients", "update", "1", "1", "--scope=openid", "--label=")
    one, all_ = (
        command("-o", "json", "clients", "check", *which, code=1) for which in (["1", "1"], ["1"])
    )
    options = (f"--registration-access-token-file={token}", "--client-id=c")
    resolved = command.json("clients", "resolve", "1", "1", "adopt", *options)
    command("clients", "delete", "1", "1", "--force", "--yes")

    assert "Checkout" in listed
    assert "active" in listed
    assert (updated["scope"], updated["labels"], updated["name"]) == ("openid", {}, "Checkout")
    [checked] = json.loads(one.stdout)
    assert checked["verify_time"] == "2026-01-31T09:30:00Z"
    assert checked["differences"]
    assert [row["id"] for row in json.loads(all_.stdout)] == [1]
    message = json.loads(all_.stderr)["error"]["message"]
    assert message == "1 of 1 clients need attention"
    assert resolved["state"] == "active"
    [found] = [given for name, given in server.fake.calls if name == "resolve"]
    assert (found.registration_access_token, found.client_id) == (TOKEN, "c")
    assert ("delete", True) in server.fake.calls
    assert (
        command("clients", "get", "1", "1", code=Exit.NOT_FOUND).stderr
        == "portal: client 1 not found\n"
    )


@pytest.mark.parametrize("label", ["x", "=x"])
def test_a_label_is_a_name_and_a_value(command: Command, label: str) -> None:
    done = command("clients", "update", "1", "1", f"--label={label}", code=64)

    assert "NAME=VALUE" in done.stderr


def test_a_preview_shows_the_metadata_and_fails_if_it_has_errors(
    server: Served, command: Command
) -> None:
    arguments = ("client-types", "preview", "1", "2", "--name=x", "--redirect-uris=https://a.test/")
    shown = command(*arguments)
    as_json = command.json(*arguments)
    server.fake.finding = Finding(FindingSeverity.ERROR, "grant_types", "no way", "RFC 7591")
    failed = command(*arguments, code=1)

    assert "https://idp.test/register" in shown.stdout
    assert "https://a.test/" in shown.stdout
    assert "Keycloak ignores it" in shown.stderr
    assert as_json["metadata"]["client_name"] == "x"
    assert as_json["findings"][0]["severity"] == "warning"
    assert "error: grant_types: no way" in failed.stderr


def test_a_failed_check_of_a_provider_is_an_error(server: Served, command: Command) -> None:
    good = command("providers", "check", "1")
    server.fake.checks = (ProviderCheck("tls", CheckOutcome.FAILED, "not trusted"),)
    failed = command("-o", "json", "providers", "check", "1", code=1)

    assert "expires soon" in good.stdout
    assert json.loads(failed.stdout) == [
        {"name": "tls", "outcome": "failed", "text": "not trusted"}
    ]


def test_a_provider_is_checked_before_it_is_stored(
    server: Served, command: Command, tmp_path: Path
) -> None:
    token, document = tmp_path / "token", tmp_path / "portal.yaml"
    token.write_text("an-initial-access-token\n")
    fields = {"name": "Staff", "type": "keycloak", "well_known_uri": "https://a.test/.well-known"}
    document.write_text(json.dumps({"providers": [fields, fields | {"name": "Others"}]}))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in fields.items()]
    secret = f"--registration-access-token-file={token}"

    command("providers", "check", *options, secret)
    shown = command.json("providers", "check", "-f", str(document), secret)
    command("providers", "check", "1", *options, code=Exit.USAGE)
    command("providers", "check", code=Exit.USAGE)

    checked = [draft for name, draft in server.fake.calls if name == "check_draft"]
    assert [one.name for one in checked] == ["Staff", "Staff", "Others"]
    assert {one.registration_access_token for one in checked} == {"an-initial-access-token"}
    assert {row["provider"] for row in shown} == {"Staff", "Others"}
