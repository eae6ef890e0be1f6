"""The settings: environment variables that begin with PORTAL_, each with a default that works."""

import difflib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    IPvAnyAddress,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL

from portal_server.catalog.idempotency import DAY
from portal_server.domain.errors import OperatorError
from portal_server.storage.sql.engine import parse_url

_PREFIX = "PORTAL_"
# What the client, the command line and the examples read.
_CLIENT_NAMES = {
    "PORTAL_CA",
    "PORTAL_IMPORT_KEY",
    "PORTAL_KEY",
    "PORTAL_TARGET",
    "PORTAL_TLS",
}
_REMOVED = {"PORTAL_ENVOY_ADMIN_PORT": "Envoy's admin interface has no port any more"}
# Kubernetes adds these to a pod beside a Service whose name is or begins with `portal`
# (Kubernetes documentation, "Service", environment variables).
_KUBERNETES_NAME = re.compile(
    r"PORTAL_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://.*")

# A key is hashed once and tries are not counted: a shorter one could be guessed.
MIN_KEY_LENGTH = 20

Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(OperatorError):
    """Settings that cannot be used; the text names each and never its value."""


def _database_url(value: SecretStr) -> SecretStr:
    parse_url(value.get_secret_value())
    return value


def _key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces, or no header can carry it")
    if len(text) < MIN_KEY_LENGTH:
        raise ValueError(f"must have at least {MIN_KEY_LENGTH} characters")
    return value


# As a browser sends it (RFC 6454, section 6.2), or it would match nothing:
# in small letters, without a path and without the port that the scheme implies.
_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)"
    r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = tuple(part.strip() for part in value.split(","))
    if origins != ("*",) and not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError(
            "must be * or origins separated by commas, each as browsers send it,"
            " such as https://app.example.com or http://localhost:8080"
        )
    return origins


class Settings(BaseSettings):
    """The settings of one start. README.md has the table for people."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, frozen=True)

    host: IPvAnyAddress = IPv4Address("127.0.0.1")
    http_port: Port = 3001
    grpc_port: Port = 50051
    # Without Envoy's limits: streams and connections there can use up the server's threads.
    direct_grpc_port: int | None = Field(default=None, ge=0, le=65535)
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] = SecretStr(
        "sqlite:///./data/portal.db"
    )
    admin_key: Annotated[SecretStr, AfterValidator(_key)] | None = None
    key_file: Path = Path("./data/admin.key")
    development: bool = False
    open_reflection: bool = True
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = ()
    workers: int | None = Field(default=None, ge=1, le=64)
    threads: int = Field(default=16, ge=1, le=1024)
    max_waiting: int = Field(default=1024, ge=1, le=100_000)
    one_core: bool = True
    request_id_seconds: float = Field(default=DAY.total_seconds(), ge=1, le=366 * 86400)
    stop_seconds: float = Field(default=15, ge=0, le=600)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def address(self, port: int) -> str:
        """`host` and a port as URLs and gRPC write them (RFC 3986, section 3.2.2)."""
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return f"{host}:{port}"

    @property
    def database(self) -> URL:
        """Where the data lives. Shows no password when printed."""
        return parse_url(self.database_url.get_secret_value())

    @property
    def worker_count(self) -> int:
        """How many gRPC servers a start has."""
        # Writers of a SQLite file take turns: a second process only makes them wait.
        default = 1 if self.database.get_backend_name() == "sqlite" else 2
        return self.workers or default

    @property
    def admin_key_text(self) -> str | None:
        """The admin key, a secret."""
        return self.admin_key.get_secret_value() if self.admin_key else None


def load() -> Settings:
    """The settings of this process's environment.

    Raises:
        SettingsError: one or more cannot be used, or there is a name that nobody knows.
    """
    problems = list(_unknown(os.environ))
    try:
        found = Settings()
    except ValidationError as error:
        problems += (
            f"{_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
    if problems:
        raise SettingsError("; ".join(problems)) from None
    return found


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    """A line for each name that begins like a setting's and is none: it may be misspelled."""
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields} | _CLIENT_NAMES
    for name, value in environment.items():
        if not name.startswith(_PREFIX) or name.upper() in known:
            continue
        if _KUBERNETES_NAME.fullmatch(name) or _KUBERNETES_PORT.fullmatch(value):
            continue
        if reason := _REMOVED.get(name):
            yield f"{name}: is no setting: {reason}"
        else:
            [closest] = difflib.get_close_matches(name, known, n=1, cutoff=0)
            yield f"{name}: is no setting; the closest is {closest}"


class _Formatter(logging.Formatter):
    """Writes the second of a line once a second."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._second = (0, "")

    def formatTime(self, record: logging.LogRecord, _datefmt: str | None = None) -> str:  # noqa: N802
        """Local time to the millisecond."""
        second, text = self._second
        if second != int(record.created):
            second = int(record.created)
            text = time.strftime(self.default_time_format, time.localtime(second))
            self._second = (second, text)
        return f"{text},{int(record.msecs):03d}"


def configure_logging(level: str) -> None:
    """One line an event on standard error."""
    # What no line has need not be found out (Logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel("WARNING")
