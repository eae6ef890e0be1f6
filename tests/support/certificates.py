"""Certificates of tests: a CA, and what it issues, in files."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme

LOCAL = ("localhost", "127.0.0.1", "::1")


class Files(NamedTuple):
    """A certificate with its chain, and its private key."""

    cert: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a portal that serves it."""
        return {"PORTAL_TLS_CERT": str(self.cert), "PORTAL_TLS_KEY": str(self.key)}


class Authority:
    """A CA with a folder; with a parent, an intermediate CA."""

    def __init__(self, folder: Path, name: str = "ca", parent: "Authority | None" = None) -> None:
        self.ca: trustme.CA = parent.ca.create_child_ca() if parent else trustme.CA()
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.file = folder / f"{name}.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def issue(
        self,
        name: str = "server",
        *names: str,
        days: float = 90,
        age_days: float = 1,
        kind: trustme.KeyType = trustme.KeyType.ECDSA,
    ) -> Files:
        """A certificate for these names, of this machine by default, in files called `name`."""
        now = datetime.now(UTC)
        issued = self.ca.issue_cert(
            *(names or LOCAL),
            not_before=now - timedelta(days=age_days),
            not_after=now + timedelta(days=days),
            key_type=kind,
        )
        files = Files(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        write(files.key, issued.private_key_pem.bytes())
        write(files.cert, b"".join(one.bytes() for one in issued.cert_chain_pems))
        return files

    def context(self, client: Files | None = None) -> ssl.SSLContext:
        """A client's context that trusts this CA only."""
        context = ssl.create_default_context(cafile=self.file)
        if client:
            context.load_cert_chain(*client)
        return context


def write(file: Path, content: bytes) -> None:
    """Replace a file by renaming, as deployment tools do."""
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.rename(file)


def swap(old: Files, new: Files) -> None:
    """Replace the certificate and then the key."""
    write(old.cert, new.cert.read_bytes())
    write(old.key, new.key.read_bytes())
