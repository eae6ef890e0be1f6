"""Build the sdist and the wheel of both packages and the SBOM, and check them.

The build uses a copy of the files that git tracks, so nothing else gets into a package, and each
wheel is built from its sdist. It downloads nothing. Run it in the project's folder:
python -m tools.dist FOLDER
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]


def _run(*command: str | Path, folder: Path) -> None:
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", *command],
        cwd=folder,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _copy(target: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, file, follow_symlinks=False)


def build(target: Path) -> None:
    """Build into a folder.

    Raises:
        subprocess.CalledProcessError: a build or a check failed; `stdout` has the reason.
    """
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        source = Path(name)
        _copy(source)
        for package in (source, source / "server"):
            out = package / "dist"
            _run("build", "--no-isolation", "--outdir", out, ".", folder=package)
            _run("twine", "check", "--strict", *sorted(out.iterdir()), folder=package)
            _run("check_wheel_contents", *sorted(out.glob("*.whl")), folder=package)
            for file in out.iterdir():
                shutil.copy2(file, target)
    _run("tools.sbom", target / "oauth-portal.cdx.json", folder=ROOT)


def main() -> int:
    """Build into the folder of the first argument, and print the files; the exit status."""
    target = Path(sys.argv[1])
    try:
        build(target.absolute())
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stdout)
        return error.returncode
    sys.stdout.writelines(f"{file}\n" for file in sorted(target.iterdir()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
