"""Files in the private folder of a start.

They are replaced as a whole: a reader sees the old one or the new one.
"""

import json
import os
from pathlib import Path
from typing import Any


def replace(file: Path, content: bytes) -> None:
    """Write the file, or replace it. Raises: OSError."""
    new = file.with_name(f".{file.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    new.rename(file)


def replace_json(file: Path, content: Any) -> None:
    """Write the file, or replace it. Raises: OSError."""
    replace(file, json.dumps(content).encode())
