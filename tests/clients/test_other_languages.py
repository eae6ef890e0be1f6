"""The steps of clients/README.md for another language, done with the real protoc."""

import re
import sys
from pathlib import Path

import pytest

from tests.clients import programs
from tests.support.stack import ROOT

# They share build/protos with the programs in other languages.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("toolchains")]

# Where the package options of the protos put a message, without a flag.
PACKAGES = {
    "csharp": ("ClientType.cs", "namespace Portal.OAuth.V1 {"),
    "java": ("portal/oauth/v1/ClientType.java", "package portal.oauth.v1;"),
    "php": ("Portal/OAuth/V1/ClientType.php", "namespace Portal\\OAuth\\V1;"),
    "python": ("portal/oauth/v1/client_type_pb2.py", "portal.oauth.v1"),
    "ruby": (
        "portal/oauth/v1/client_type_pb.rb",
        "module Portal\n  module OAuth\n    module V1\n      ClientType = ",
    ),
}


def generate(language: str, folder: Path) -> None:
    """Follow the steps of the README for another language than Ruby."""
    readme = (programs.CLIENTS / "README.md").read_text()
    steps = re.search(r"```sh\n(make protos-export\n.*?)```", readme, re.DOTALL)
    assert steps
    commands = (
        steps[1]
        .replace("--ruby_out", f"--{language}_out")
        .replace("clients/ruby/lib", str(folder))
        .replace("protoc ", f"{Path(sys.executable).with_name('protoc')} ")
    )
    programs.build(commands, ROOT)


@pytest.mark.parametrize(
    "language", ["cpp", "csharp", "java", "kotlin", "objc", "php", "python", "ruby"]
)
def test_the_documented_step_generates_stubs_in_any_language(language: str, tmp_path: Path) -> None:
    generate(language, tmp_path / "stubs")

    files = [path for path in (tmp_path / "stubs").rglob("*") if path.is_file()]
    text = "".join(path.read_text() for path in files)
    assert "CreateClientTypeRequest" in text
    assert "FieldViolation" in text  # the details of errors too
    assert any(re.fullmatch(r"(?i)status.*", path.name) for path in files)
    if language in PACKAGES:
        path, package = PACKAGES[language]
        assert "ErrorReason" in text
        assert package in (tmp_path / "stubs" / path).read_text()
