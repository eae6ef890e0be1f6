"""What people expect of each command line: options anywhere, help, completion."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import typer
import yaml
from pydantic import SecretStr

from portal_cli.errors import Exit
from portal_cli.main import app
from portal_cli.options import COMMON
from tests.clients.command import CREATE_PROVIDER, KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.stack import ENVIRONMENT


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = new_sqlite(tmp_path_factory.mktemp("conventions") / "p.db")
    with started(url, admin_key=SecretStr(KEY)) as server:
        target = f"127.0.0.1:{server.port}"
        Command(target)(*CREATE_PROVIDER)
        yield target


@pytest.fixture
def portal(target: str) -> Command:
    return Command(target)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(
    "arguments",
    [
        ("-o", "json", "providers", "list"),
        ("providers", "-o", "json", "list"),
        ("providers", "list", "-o", "json"),
        ("providers", "list", "--output=json"),
        ("-o", "yaml", "providers", "list", "-o", "json"),
    ],
)
def test_the_format_can_be_given_before_and_after_the_command(
    portal: Command, arguments: tuple[str, ...]
) -> None:
    [provider] = yaml.safe_load(portal(*arguments).stdout)

    assert portal(*arguments).stdout.startswith("[\n  {")
    assert provider["name"] == "Staff"


def test_the_target_and_the_key_can_be_given_after_the_command(target: str) -> None:
    portal = Command("nowhere.invalid:1", PORTAL_KEY="")
    done = portal("providers", "get", "1", "--target", target, "--key", KEY)

    assert "Staff" in done.stdout


def test_an_argument_before_the_command_wins_over_a_variable(target: str) -> None:
    portal = Command("nowhere.invalid:1")

    assert "Staff" in portal("--target", target, "providers", "get", "1").stdout


def test_help_is_the_same_with_h_and_without_a_command(portal: Command) -> None:
    shown = portal("--help").stdout

    assert portal("-h").stdout == portal().stdout == shown
    assert portal("providers").stdout == portal("providers", "-h").stdout


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_fits_80_columns_and_cuts_no_name(portal: Command, path: tuple[str, ...]) -> None:
    portal.variables["COLUMNS"] = "80"
    shown = portal(*path, "-h").stdout
    options = {name for one in ALL[path].params for name in (*one.opts, *one.secondary_opts)}

    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert {name for name in options if name.startswith("-")} <= set(re.findall(r"-[\w-]+", shown))
    for name in getattr(ALL[path], "commands", {}):
        assert f"\n  {name} " in shown


@pytest.mark.parametrize(
    "path", [path for path, one in ALL.items() if not hasattr(one, "commands")], ids=" ".join
)
def test_help_has_an_example_that_can_be_parsed(portal: Command, path: tuple[str, ...]) -> None:
    _, _, rest = portal(*path, "-h").stdout.partition("Examples:\n")
    examples, _, _ = rest.partition("\n\n")
    options = set(re.findall(r"(?<= )--?[a-z][a-z-]*", re.sub(r"(?<!\S)#.*", "", examples)))
    known = {name for one in ALL[path].params for name in (*one.opts, *one.secondary_opts)}

    assert " ".join(("portal", *path)) in examples
    assert options <= known | {name for one in COMMON for name in one.opts}


def test_the_examples_precede_the_common_options(portal: Command) -> None:
    shown = portal("keys", "revoke", "-h").stdout

    assert shown.index("--etag") < shown.index("Examples:") < shown.index("Common options")


def test_an_invalid_value_is_reported_without_the_words_of_a_library(portal: Command) -> None:
    done = portal("providers", "list", "-o", "xml", code=Exit.USAGE)

    assert done.stderr == (
        "portal: Invalid value for '--output' / '-o': 'xml' is not one of 'table', 'json', 'yaml'."
        " Try 'portal providers list -h'.\n"
    )


def test_every_missing_option_is_named(portal: Command) -> None:
    done = portal("client-types", "create", "1", code=Exit.USAGE)

    assert done.stderr == (
        "portal: Missing --name, --response-types, --grant-types."
        " Try 'portal client-types create -h'.\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_chosen_by_its_name(portal: Command, shell: str) -> None:
    script = portal("completion", shell).stdout

    assert f"complete_{shell}" in script
    program = which(shell)
    if program:
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def complete(portal: Command, line: str) -> list[str]:
    """What a shell offers at the end of a line."""
    words = line.split(" ")
    portal.variables |= {
        "_PORTAL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return portal().stdout.split()


def test_commands_options_words_and_ids_are_completed(portal: Command) -> None:
    assert complete(portal, "portal prov") == ["providers"]
    assert "--filter" in complete(portal, "portal providers list --")
    assert "--output" in complete(portal, "portal providers list --")
    assert complete(portal, "portal providers list -o ") == ["table", "json", "yaml"]
    assert complete(portal, "portal providers create --type key") == ["keycloak"]
    assert complete(portal, "portal client-types create 1 --grant-types pkce,re") == [
        "pkce,refresh_token"
    ]
    assert complete(portal, "portal providers get ") == ["1"]


def test_zsh_shows_the_name_of_an_id(portal: Command) -> None:
    portal.variables |= {
        "_PORTAL_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": "portal providers get ",
    }

    assert portal().stdout.strip() == """_arguments '*: :(("1":"Staff"))'"""


def test_completion_without_a_server_offers_nothing_and_prints_no_error() -> None:
    portal = Command("127.0.0.1:1")
    words = {"COMP_WORDS": "portal providers get ", "COMP_CWORD": "3"}
    portal.variables |= {"_PORTAL_COMPLETE": "complete_bash"} | words
    done = portal()

    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_bash_completes_with_the_script(portal: Command, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(portal("completion", "bash").stdout)
    line = (
        f"source {script}; COMP_WORDS=(portal providers li); COMP_CWORD=2;"
        ' _portal_completion portal; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", line],
        env=ENVIRONMENT | portal.variables,
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.stdout == "list\n", done.stderr
