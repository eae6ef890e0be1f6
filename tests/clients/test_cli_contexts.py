"""`portal contexts`: connections with names."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from portal_cli.errors import Exit
from tests.clients.command import KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = new_sqlite(tmp_path_factory.mktemp("contexts") / "p.db")
    with started(url, admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "portal" / "contexts.yaml"


@pytest.fixture
def portal(tmp_path: Path, target: str) -> Command:
    portal = Command("", PORTAL_KEY="", XDG_CONFIG_HOME=str(tmp_path))
    portal("contexts", "set", "here", "--target", target, "--key-file", "-", stdin=f"{KEY}\n")
    portal(
        "contexts", "set", "other", "--target", "nowhere.invalid:1", "--key-file", "-", stdin=KEY
    )
    return portal


def test_the_first_context_is_used_and_another_can_be_chosen(portal: Command) -> None:
    assert portal.json("providers", "list") == []
    other = portal("providers", "list", "--context", "other", code=Exit.NO_SERVER)
    portal("contexts", "use", "other")
    portal("providers", "list", code=Exit.NO_SERVER)

    assert "nowhere.invalid:1" in other.stderr
    assert portal.json("providers", "list", "--context", "here") == []
    portal.variables["PORTAL_CONTEXT"] = "here"
    assert portal.json("providers", "list") == []


def test_only_the_owner_can_read_the_file(portal: Command, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    file.chmod(0o644)

    assert "chmod 600" in portal("providers", "list", code=Exit.FAILED).stderr


def test_the_key_of_a_context_is_not_sent_to_another_target(portal: Command, target: str) -> None:
    done = portal("providers", "list", "--target", target, code=Exit.USAGE)
    both = portal("status", "--target", target, "--context", "here", code=Exit.USAGE)
    portal.variables["PORTAL_TARGET"] = target
    variable = portal("providers", "list", code=Exit.USAGE)

    assert done.stderr == variable.stderr == ("portal: no API key: set PORTAL_KEY or pass --key\n")
    assert "not both" in both.stderr


def test_contexts_are_listed_without_keys_and_deleted(portal: Command) -> None:
    listed = portal.json("contexts", "list")
    portal("contexts", "delete", "here")

    assert [(one["name"], one["current"], one["key"]) for one in listed] == [
        ("here", True, True),
        ("other", False, True),
    ]
    assert "other" in portal("contexts", "list").stdout
    assert "there are: other" in portal("contexts", "use", "here", code=Exit.USAGE).stderr


@pytest.mark.parametrize("text", ["[", "contexts: 3", "contexts: {a: {key: the-commands-key}}"])
def test_an_invalid_file_is_an_error_without_its_content(
    portal: Command, file: Path, text: str
) -> None:
    file.write_text(text)

    assert "not a valid file" in portal("providers", "list", code=Exit.FAILED).stderr
