"""Files with secrets: only the user of the portal may be able to read them."""

import os
import re
from pathlib import Path

# Group and others; all that is not reading by the group.
_NOT_OURS = 0o077
_NOT_OUR_GROUP = 0o037
_LONGEST = 1 << 20
_IN_MEMORY = frozenset({"ramfs", "tmpfs"})
# proc(5), mountinfo: the device is the third field, and the type follows a hyphen.
_MOUNT = re.compile(r"^\d+ \d+ (?P<device>\d+:\d+) .*? - (?P<type>\S+) ", re.MULTILINE)


class SecretFileError(Exception):
    """A file cannot be used. The text follows its name and has no secret."""


def read_secret(file: Path) -> bytes:
    """The content of a file with a secret.

    Only its owner may be able to read it, with two exceptions. A group may read a file of root, as
    PostgreSQL allows for its private key (documentation, section 18.9.2). Anyone may read a
    read-only file system in memory, in which Docker and Kubernetes mount secrets.

    Raises:
        SecretFileError: the file cannot be read, is too large, or others can read it.
    """
    return _content(file, require_private=True)


def read_file(file: Path) -> bytes:
    """The content of a file without secrets. Raises: SecretFileError."""
    return _content(file, require_private=False)


def _content(file: Path, *, require_private: bool) -> bytes:
    try:
        with file.open("rb") as opened:
            if require_private and _others_read(opened.fileno()):
                raise SecretFileError("can be read by others: set its mode to 0600")
            content = opened.read(_LONGEST + 1)
    except OSError as error:
        raise SecretFileError(error.strerror or "cannot be read") from None
    if len(content) > _LONGEST:
        raise SecretFileError("is larger than 1 MiB")
    return content


def _others_read(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    of_root = status.st_uid == 0 and os.geteuid() != 0
    too_much = status.st_mode & (_NOT_OUR_GROUP if of_root else _NOT_OURS)
    return bool(too_much) and not _is_mounted(descriptor, status.st_dev)


def _is_mounted(descriptor: int, device: int) -> bool:
    """Whether the file is in a read-only file system in memory."""
    if not os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        return False
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return any(
        mount["device"] == wanted and mount["type"] in _IN_MEMORY
        for mount in _MOUNT.finditer(mounts)
    )
