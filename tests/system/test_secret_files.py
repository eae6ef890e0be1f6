"""Secrets in files that a container mounts."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.postgres import NOBODY

PROGRAM = """
import sys
from pathlib import Path
from portal_server.run.secret_files import SecretFileError, read_secret
try:
    print(read_secret(Path(sys.argv[1])).decode())
except SecretFileError as error:
    print(error)
"""


@pytest.mark.needs("root")  # to mount
@pytest.mark.parametrize(
    ("options", "printed"),
    [("ro", "of all\n"), ("rw", "can be read by others: set its mode to 0600")],
    ids=["read-only", "writable"],
)
def test_in_memory_and_read_only_a_secret_may_have_any_mode(
    tmp_path: Path, options: str, printed: str
) -> None:
    secret = tmp_path / "secret"
    script = f"""
        mount -t tmpfs none {tmp_path}
        echo of all >{secret}
        chmod 444 {secret}
        mount -o remount,{options} {tmp_path}
        exec {sys.executable} -c "$PROGRAM" {secret}
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", script],
        env={"PROGRAM": PROGRAM},
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.stdout == f"{printed}\n", done.stderr


@pytest.mark.needs("root")  # to be another user
@pytest.mark.parametrize(
    ("mode", "printed"),
    [
        (0o640, "of a group"),
        (0o644, "can be read by others: set its mode to 0600"),
        (0o660, "can be read by others: set its mode to 0600"),
        (0o600, "Permission denied"),
    ],
)
def test_a_group_may_read_a_secret_of_root(mode: int, printed: str) -> None:
    with TemporaryDirectory() as name:
        folder, secret = Path(name), Path(name) / "secret"
        folder.chmod(0o755)
        secret.write_text("of a group")
        secret.chmod(mode)
        os.chown(secret, 0, NOBODY)
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        done = subprocess.run(
            [*as_nobody, sys.executable, "-c", PROGRAM, secret],
            text=True,
            capture_output=True,
            check=False,
            cwd="/",
        )

    assert done.stdout == f"{printed}\n", done.stderr
