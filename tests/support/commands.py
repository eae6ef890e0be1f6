"""Runs `portal` in processes that have imported it already.

A short command is mostly its imports, a second of CPU. Here one process imports them and forks
a process for each command. The tests of `portal up`, of the wheel and of a killed import start
Python itself.
"""

import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
SECONDS = 60.0

_context = get_context("forkserver")
_context.set_forkserver_preload(
    [__name__, "portal_cli.main", "portal_server.run.server", "portal_server.run.up"]
)
# In the order of the file descriptors.
_STREAMS = ("in", "out", "err")


def run(
    module: str, arguments: tuple[str, ...], environment: Mapping[str, str], stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m module`, with these environment variables only, to its end."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").write_text(stdin)
        process = _context.Process(
            target=_main, args=(module, arguments, dict(environment), folder), daemon=True
        )
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([module, *arguments], SECONDS)
        out, err = ((folder / stream).read_text() for stream in _STREAMS[1:])
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, out, err)


def _main(
    module: str, arguments: tuple[str, ...], environment: dict[str, str], folder: Path
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for number, stream in enumerate(_STREAMS):
        opened = os.open(folder / stream, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in enumerate(("r", "w", "w"))
    )
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
