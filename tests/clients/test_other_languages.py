"""What clients/README.md says about a language that is not there yet, done with the real protoc."""

import re
import sys
from pathlib import Path

import pytest

from tests.clients import programs
from tests.support.stack import ROOT


@pytest.mark.parametrize(
    "language", ["cpp", "csharp", "java", "kotlin", "objc", "php", "python", "ruby"]
)
def test_stubs_of_any_language_come_from_the_documented_step(language: str, tmp_path: Path) -> None:
    readme = (programs.CLIENTS / "README.md").read_text()
    steps = re.search(r"```sh\n(make protos-export\n.*?)```", readme, re.DOTALL)
    assert steps
    commands = (
        steps[1]
        .replace("--ruby_out", f"--{language}_out")
        .replace("clients/ruby/lib", str(tmp_path / "stubs"))
        .replace("protoc ", f"{Path(sys.executable).with_name('protoc')} ")
    )
    programs.build(commands, ROOT)
    made = "".join(path.read_text() for path in (tmp_path / "stubs").rglob("*") if path.is_file())
    assert "CreateClientTypeRequest" in made
    assert "FieldViolation" in made  # the details of errors too
