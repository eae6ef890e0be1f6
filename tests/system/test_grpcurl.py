"""Runs docs/grpcurl.md from top to bottom with the real grpcurl."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import ADMIN_KEY, ROOT, Stack

PAGE = (ROOT / "docs/grpcurl.md").read_text()
# A command, and its output if the page shows it.
RECIPE = re.compile(r"```sh\n(.*?)```(?:\n\n```(?:text|json)\n(.*?)```)?", re.DOTALL)
INSTALL, KEY, *RECIPES = RECIPE.findall(PAGE)
STATUS = {"Aborted": 74, "InvalidArgument": 67, '"code": 16': 80}

pytestmark = [pytest.mark.needs("go", "jq"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def grpcurl() -> Path:
    """The folder with the version of grpcurl on the page."""
    folder = ROOT / "build/bin"
    subprocess.run(
        ["sh", "-euc", INSTALL[0]], env=os.environ | {"GOBIN": str(folder)}, check=True, timeout=280
    )
    return folder


@pytest.fixture(scope="module")
def page_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A new system: the ids on the page are those of an empty one."""
    running = Stack(tmp_path_factory.mktemp("page")).start()
    yield running
    running.stop()


def test_every_block_of_the_page_is_a_recipe() -> None:
    assert KEY == ("export PORTAL_KEY=…\n", "")
    assert len(RECIPES) == PAGE.count("```sh") - 2


@pytest.mark.parametrize(("command", "shown"), RECIPES, ids=map(str, range(len(RECIPES))))
def test_a_recipe_prints_the_output_on_the_page(
    grpcurl: Path, page_stack: Stack, command: str, shown: str
) -> None:
    here = command.replace(":50051", f":{page_stack.grpc_port}")
    done = subprocess.run(
        ["sh", "-c", here.replace(":3001", f":{page_stack.http_port}")],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{grpcurl}:{os.environ['PATH']}", "PORTAL_KEY": ADMIN_KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    pattern = ".*".join(map(re.escape, shown.strip().split("…")))

    assert shown
    assert re.fullmatch(pattern, done.stdout.strip(), re.DOTALL), done.stdout
    [status] = [code for word, code in STATUS.items() if word in shown] or [0]
    assert done.returncode == status
