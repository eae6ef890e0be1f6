"""The files for deployments and releases: what can be checked without running them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from portal_server.run.settings import Settings
from tests.support.commands import ROOT
from tools.version.__main__ import PLACES, current, version

BIN = Path(sys.executable).parent
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "oauth-portal.service"
PROBES = {"/livez", "/readyz"}


def check(*command: str | Path) -> str:
    """What a check prints, which must succeed."""
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def manifests() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


def pod() -> Any:
    return manifests()["Deployment"]["spec"]["template"]["spec"]


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["portal"]


def test_the_container_file_follows_the_rules_of_hadolint() -> None:
    assert check(BIN / "hadolint", DEPLOY / "Containerfile") == ""


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("compose-spec", "deploy/compose.yaml"),
        ("github-workflows", ".github/workflows/audit.yml"),
        ("github-workflows", ".github/workflows/ci.yml"),
        ("github-workflows", ".github/workflows/release.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/feature.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_a_file_has_its_schema(schema: str, file: str) -> None:
    check(BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", file)


def test_the_manifests_have_the_schemas_of_kubernetes(tmp_path: Path) -> None:
    file = DEPLOY / "kubernetes.yaml"
    for release in ("1.31.0", "1.37.0"):
        found = check(BIN / "kubernetes-validate", "--strict", "-k", release, file)
        assert found.count(" passed ") == len(manifests())
    misspelled = tmp_path / file.name
    misspelled.write_text(file.read_text().replace("maxSurge", "maxSurges"))

    with pytest.raises(AssertionError, match="maxSurges"):
        check(BIN / "kubernetes-validate", "--strict", misspelled)


@pytest.mark.needs("systemd-analyze")
def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    # The program is not installed here.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/oauth-portal/bin/portal", sys.executable))

    assert check("systemd-analyze", "verify", "--man=no", unit) == ""
    check("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit)


@pytest.mark.parametrize(
    "file", sorted(filter(Path.is_file, DEPLOY.iterdir())), ids=lambda file: file.name
)
def test_every_setting_is_known(file: Path) -> None:
    names = set(re.findall(r"PORTAL_[A-Z_]+", file.read_text()))

    assert names
    assert names <= {f"PORTAL_{name.upper()}" for name in Settings.model_fields}


def test_a_stop_has_the_time_that_it_needs() -> None:
    needed = Settings.model_construct().stop_seconds + 10
    [unit] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)

    assert int(unit) > needed
    assert int(compose()["stop_grace_period"].removesuffix("s")) > needed
    assert pod()["terminationGracePeriodSeconds"] > needed + 5


def test_every_file_opens_the_default_ports_and_probes_paths_that_exist() -> None:
    defaults = Settings.model_construct()
    ports = [defaults.http_port, defaults.grpc_port]
    [container] = pod()["containers"]
    probes = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness")]
    envoy = (ROOT / "envoy.yaml").read_text()
    image = (DEPLOY / "Containerfile").read_text()

    assert [port["containerPort"] for port in container["ports"]] == ports
    assert [port["port"] for port in manifests()["Service"]["spec"]["ports"]] == ports
    assert compose()["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    assert f"EXPOSE {' '.join(map(str, ports))}\n" in image
    assert {*probes, container["readinessProbe"]["httpGet"]["path"]} == PROBES
    assert all(path in envoy for path in PROBES)


def test_containers_have_no_rights() -> None:
    [container] = pod()["containers"]
    image = (DEPLOY / "Containerfile").read_text()

    assert pod()["securityContext"]["runAsNonRoot"]
    assert f"USER {pod()['securityContext']['runAsUser']}:" in image
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert compose()["read_only"]
    assert compose()["cap_drop"] == ["ALL"]


def test_every_command_of_a_hook_exists() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    commands = [hook["entry"].split() for repo in config["repos"] for hook in repo["hooks"]]

    assert commands
    assert all((BIN / Path(command[0]).name).exists() for command in commands)


@pytest.mark.parametrize("name", PLACES)
def test_the_version_is_that_of_the_root(name: str) -> None:
    text = (ROOT / name).read_text()

    assert re.search(PLACES[name], text, re.MULTILINE)
    assert current(PLACES[name], text) == text


def test_the_changelog_begins_with_the_version() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert first
    assert first[1] == version()


@pytest.mark.needs("git")
def test_no_page_installs_our_packages_from_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "*.py", "*.yaml", "*.yml"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    texts = {name: (ROOT / name).read_text() for name in listed.stdout.splitlines()}
    by_name = re.compile(r"pip3? install(?: -\S+)* ['\"]?oauth[-_]portal(?!\S*\.whl)")

    assert not [name for name, text in texts.items() if by_name.search(text)]
