r"""The file format of a backup: a ZIP file with a member for each table, and a manifest.

    manifest.json    format, schema and tables, each with its columns, rows and SHA-256
    <table>.jsonl    a JSON object per row, by name of column, in the order of the primary key

Values are as PostgreSQL's row_to_json writes them, for both databases: times in ISO 8601 with
an offset, bytes as `\x` and hexadecimal digits. So a backup of one database can be restored
to the other one.

The manifest is written last: a file that was cut off has none.
"""

import errno
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from portal_server.domain.errors import OperatorError

FORMAT = 1
"""A version reads all formats up to its own."""

_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 1 << 20
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Most of the time of a backup is compression, and the highest level saves a tenth more.
_LEVEL = 1


class InvalidBackup(OperatorError):
    """The file is not a backup, is damaged, or comes from a newer version."""


@dataclass(slots=True, kw_only=True)
class TableEntry:
    """What the manifest has about a table."""

    name: str
    columns: list[str]
    last_id: int | None
    """The last id that a row has had; None: the table has no sequence, or it is unused."""
    rows: int = 0
    sha256: str = ""
    """Of the uncompressed member."""


@dataclass(slots=True, kw_only=True)
class Manifest:
    """What a backup contains."""

    schema: str
    """The revision of the database."""
    database: str
    create_time: str
    """When the snapshot was taken, UTC."""
    tables: list[TableEntry] = field(default_factory=list)
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """The number of rows of all tables."""
        return sum(table.rows for table in self.tables)


class Writer:
    """Writes a backup to an open file."""

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self.manifest = manifest

    def add(self, entry: TableEntry, lines: Iterable[str]) -> None:
        """Write a table; each line is a JSON object without a newline."""
        digest = sha256()
        with self._zip.open(_member(entry.name), "w", force_zip64=True) as member:
            for line in lines:
                text = f"{line}\n".encode()
                digest.update(text)
                member.write(text)
                entry.rows += 1
        entry.sha256 = digest.hexdigest()
        self.manifest.tables.append(entry)

    def close(self) -> None:
        """Write the manifest and the end of the file."""
        self._zip.writestr(_MANIFEST, json.dumps(asdict(self.manifest), indent=1))
        self._zip.close()


class Reader:
    """Reads a backup.

    Raises:
        InvalidBackup: see there.
        OSError: the file cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._reading("is not a backup, or was cut off"):
            self._zip = zipfile.ZipFile(file)
        try:
            self.manifest = self._manifest()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def verify(self) -> None:
        """Read the whole file and compare it with its manifest. Raises: InvalidBackup."""
        for entry in self.manifest.tables:
            for _ in self.lines(entry):
                pass

    def lines(self, entry: TableEntry) -> Iterator[bytes]:
        """The rows of a table. Raises InvalidBackup at the end, if they are not as written."""
        digest, rows = sha256(), 0
        problem = f"is damaged: the table {entry.name} cannot be read"
        with self._reading(problem), self._zip.open(_member(entry.name)) as member:
            for line in member:
                digest.update(line)
                rows += 1
                yield line
        if (rows, digest.hexdigest()) != (entry.rows, entry.sha256):
            raise self._invalid(f"is damaged: the checksum of the table {entry.name} differs")

    def _manifest(self) -> Manifest:
        with self._reading("is not a backup, or is damaged"):
            with self._zip.open(_MANIFEST) as member:
                read: dict[str, Any] = json.loads(member.read(_MAX_MANIFEST_BYTES))
            if read["format"] > FORMAT:
                raise self._invalid("comes from a newer version, with a format that this one lacks")
            tables = [TableEntry(**table) for table in read.pop("tables")]
            manifest = Manifest(**read, tables=tables)
            if not all(_NAME.fullmatch(table.name) for table in tables):
                raise self._invalid("has a table with an invalid name")
            return manifest

    @contextmanager
    def _reading(self, problem: str) -> Iterator[None]:
        """Turn an error of this block into InvalidBackup: a damaged file can cause any."""
        try:
            yield
        except InvalidBackup:
            raise
        except Exception as error:
            # zipfile seeks to where a damaged file says: EINVAL.
            if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
                raise
            raise self._invalid(problem) from None

    def _invalid(self, text: str) -> InvalidBackup:
        return InvalidBackup(f"{self._file} {text}")


def _member(table: str) -> str:
    return f"{table}.jsonl"
