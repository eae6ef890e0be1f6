"""The packages as a release has them, and virtual environments with them."""

import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from tests.support.stack import ENVIRONMENT, ROOT

MIGRATION = '''"""What the next version adds."""

from alembic import op

revision = "{revision}"
down_revision = "{previous}"
branch_labels = depends_on = None


def upgrade() -> None:
    """Upgrade to this revision."""
    op.create_index("ix_next_version", "client_type", ["name"])


def downgrade() -> None:
    """Downgrade to the previous revision."""
    op.drop_index("ix_next_version", "client_type")
'''

_ARGUMENTS = "    __table_args__ = (\n"
_INDEX = '        Index("ix_next_version", "name"),\n'


def run(*command: str | Path, folder: Path) -> str:
    """Run a command without the settings and paths of this process; what it prints."""
    kept = {name: ENVIRONMENT[name] for name in ENVIRONMENT if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, env=kept, cwd=folder, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path) -> None:
    """Build the wheels, from the sdists, and the sdists of both packages."""
    run(sys.executable, "-m", "tools.dist", folder, folder=ROOT)


def version_of(packages: Path) -> str:
    [version] = {file.name.split("-")[1] for file in packages.glob("*.whl")}
    return version


def build_next(packages: Path, folder: Path) -> str:
    """Build wheels of a next version, with a migration, from these sdists; the version."""
    version = version_of(packages)
    following = f"{version}.post1"
    for sdist in packages.glob("*.tar.gz"):
        with tarfile.open(sdist) as archive:
            archive.extractall(folder / "source", filter="data")
        source = folder / "source" / sdist.name.removesuffix(".tar.gz")
        project = source / "pyproject.toml"
        text = project.read_text().replace(f'version = "{version}"', f'version = "{following}"')
        project.write_text(text.replace(f"=={version}", f"=={following}"))
        for rows in source.glob("**/storage/rows/client_types.py"):
            text = rows.read_text()
            assert text.count(_ARGUMENTS) == 1
            rows.write_text(text.replace(_ARGUMENTS, _ARGUMENTS + _INDEX))
        for versions in source.glob("**/storage/migrations/versions"):
            previous = max(file.name[:4] for file in versions.glob("[0-9]*.py"))
            revision = f"{int(previous) + 1:04}"
            (versions / f"{revision}_next_version.py").write_text(
                MIGRATION.format(revision=revision, previous=previous)
            )
        options = ("--wheel", "--no-isolation", "--outdir", folder)
        run(sys.executable, "-m", "build", *options, ".", folder=source)
    return following


def add_our_dependencies(home: Path) -> None:
    """Let a virtual environment, which need not be there yet, use the packages of this one.

    Nothing is downloaded. It does not see our own packages, which are links to this clone.
    """
    ours = Path(sysconfig.get_path("purelib"))
    folder = home / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    links = home / "dependencies"
    for part in (folder, links, home / "bin"):
        part.mkdir(parents=True, exist_ok=True)
    for file in ours.iterdir():
        # With pip in sight, venv would not install it.
        if not re.match(r"oauth_portal|__editable__|pip$|pip-|.*\.pth$", file.name):
            (links / file.name).symlink_to(file)
    (folder / "dependencies.pth").write_text(f"{links}\n")
    (home / "bin/envoy").symlink_to(Path(sys.executable).with_name("envoy"))
