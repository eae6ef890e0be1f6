"""A real OpenID provider: the npm package oidc-provider, installed into build/ once."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_SOURCE = Path(__file__).parent / "oidc-provider"
_FOLDER = _ROOT / "build" / "providers" / "oidc-provider"
_FILES = ("package.json", "package-lock.json", ".npmrc", "server.js")


def _install() -> None:
    """Install what the lock file pins; another process may do so at the same time."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pinned = (_SOURCE / "package-lock.json").read_bytes()
        installed = _FOLDER / "installed"
        for name in _FILES:
            shutil.copyfile(_SOURCE / name, _FOLDER / name)
        if installed.exists() and installed.read_bytes() == pinned:
            return
        command = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=_FOLDER, check=True)
        installed.write_bytes(pinned)


@contextmanager
def oidc_provider(initial_access_token: str = "", port: int = 0) -> Iterator[str]:
    """Run a provider; yields its URL. Without a token, anyone may register clients."""
    _install()
    command = ["node", "server.js"]
    if initial_access_token:
        command += [initial_access_token, str(port)]
    with subprocess.Popen(
        command, cwd=_FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("http://"):
                    yield line.strip()
                    return
            raise AssertionError(f"oidc-provider ended with {process.wait()}")
        finally:
            process.terminate()
