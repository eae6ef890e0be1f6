"""The collector that gets the traces: where it is, and how the connection is secured."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from portal_server.domain.certificates import certificate_problem
from portal_server.run.secret_files import SecretFileError, read_file
from portal_server.run.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Collector:
    """A collector. `ca` has the CAs that its certificate may be of; without it, there is no TLS."""

    url: str
    ca: Path | None

    @property
    def host(self) -> str:
        """A name or an address, without brackets."""
        host = urlsplit(self.url).hostname
        assert host  # noqa: S101 - the setting requires it
        return host

    @property
    def port(self) -> int:
        """The port."""
        port = urlsplit(self.url).port
        assert port  # noqa: S101 - the setting requires it
        return port


def collector(settings: Settings) -> Collector | None:
    """The collector of the settings, if there is one.

    Raises:
        SettingsError: the file of its CA cannot be used.
    """
    url, ca = settings.otlp_endpoint, settings.otlp_ca
    if ca and not (url and url.startswith("https:")):
        raise SettingsError("PORTAL_OTLP_CA: PORTAL_OTLP_ENDPOINT is not an https URL")
    if not url:
        return None
    if not url.startswith("https:"):
        return Collector(url, None)
    if not ca:
        return Collector(url, Path(certifi.where()))
    try:
        problem = certificate_problem(read_file(ca).decode(errors="replace"))
    except SecretFileError as error:
        problem = str(error)
    if problem:
        raise SettingsError(f"PORTAL_OTLP_CA: {ca}: {problem}")
    return Collector(url, ca.absolute())
