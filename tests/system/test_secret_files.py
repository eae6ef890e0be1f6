"""Secrets in files that a container mounts."""

import subprocess
import sys
from pathlib import Path

import pytest

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
