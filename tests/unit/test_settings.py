"""The settings of the server."""

import base64
import os
from contextlib import nullcontext
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from portal_server.domain.keys import Role
from portal_server.run import settings
from portal_server.run.environment import load
from portal_server.run.settings import SECRETS, SettingsError
from portal_server.storage.sql.engine import parse_url
from tools.settings_docs.__main__ import PAGE, current

SECRET = "s3cret-w0rd-of-many"  # noqa: S105
ONE, OTHER = bytes(32), bytes(range(32))
KEYS = f"{base64.b64encode(ONE).decode()}, {base64.b64encode(OTHER).decode()}"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("PORTAL_"):
            monkeypatch.delenv(name)


def test_everything_has_a_default() -> None:
    found = load()

    assert found.model_dump(exclude={"database_url"}) == {
        "host": IPv4Address("127.0.0.1"),
        "http_port": 3001,
        "grpc_port": 50051,
        "direct_grpc_port": None,
        "read_database_url": None,
        "read_max_age_seconds": 2,
        "metrics_port": 9464,
        "metrics_host": IPv4Address("127.0.0.1"),
        "trusted_hops": 0,
        "otlp_endpoint": None,
        "otlp_ca": None,
        "trace_sample": 0.01,
        "log_format": "text",
        "admin_key": None,
        "key_file": Path("data/admin.key"),
        "tls_cert": None,
        "tls_key": None,
        "tls_client_ca": None,
        "insecure": False,
        "encryption_keys": None,
        "encryption_keys_file": Path("data/encryption.key"),
        "envoy": None,
        "envoy_config": None,
        "development": False,
        "allow_private_providers": None,
        "cors_origins": (),
        "one_core": True,
        "open_reflection": True,
        "threads": 16,
        "workers": None,
        "max_waiting": 1024,
        "key_requests_per_second": None,
        "key_burst": None,
        "jwt_issuer": None,
        "jwt_audience": None,
        "jwt_roles": {},
        "jwt_role_claim": "roles",
        "jwt_jwks_url": None,
        "request_id_seconds": 86400,
        "stop_seconds": 15,
        "log_level": "INFO",
    }
    assert str(found.database) == "sqlite:///./data/portal.db"
    assert found.admin_key_text is None
    assert found.encryption_key_bytes == []
    assert found.private_providers_allowed


@pytest.mark.parametrize(
    "name", [name.upper() for name in settings.Settings.model_fields if name != "database_url"]
)
def test_an_empty_variable_is_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = load()
    monkeypatch.setenv(f"PORTAL_{name}", "")

    assert load() == default


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HOST", "0.0.0.0", IPv4Address("0.0.0.0")),  # noqa: S104
        ("HTTP_PORT", "1", 1),
        ("HTTP_PORT", "65535", 65535),
        ("GRPC_PORT", "1", 1),
        ("GRPC_PORT", "65535", 65535),
        ("HOST", "::1", IPv6Address("::1")),
        ("DIRECT_GRPC_PORT", "0", 0),
        ("DIRECT_GRPC_PORT", "65535", 65535),
        ("DEVELOPMENT", "true", True),
        ("KEY_REQUESTS_PER_SECOND", "1", 1),
        ("KEY_BURST", "100000", 100_000),
        ("JWT_ISSUER", "https://id.test/realms/x", "https://id.test/realms/x"),
        ("JWT_ISSUER", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("JWT_ROLES", "a=admin, b = viewer", {"a": Role.ADMIN, "b": Role.VIEWER}),
        ("JWT_ROLE_CLAIM", "realm_access.roles", "realm_access.roles"),
        ("KEY_FILE", "/run/portal/key", Path("/run/portal/key")),
        ("ENCRYPTION_KEYS", KEYS, KEYS),
        ("ENCRYPTION_KEYS_FILE", "/run/portal/keys", Path("/run/portal/keys")),
        ("ALLOW_PRIVATE_PROVIDERS", "false", False),
        ("OPEN_REFLECTION", "false", False),
        ("OPEN_REFLECTION", "0", False),
        ("THREADS", "1", 1),
        ("THREADS", "1024", 1024),
        ("STOP_SECONDS", "0", 0),
        ("STOP_SECONDS", "0.5", 0.5),
        ("STOP_SECONDS", "600", 600),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
        ("ADMIN_KEY", "!~aZ9-!~aZ9-!~aZ9-!~", "!~aZ9-!~aZ9-!~aZ9-!~"),
        ("DATABASE_URL", "sqlite:////var/lib/portal.db", "sqlite:////var/lib/portal.db"),
        ("READ_DATABASE_URL", "postgresql://a,b/d", "postgresql://a,b/d"),
        ("READ_MAX_AGE_SECONDS", "0.5", 0.5),
    ],
)
def test_a_variable_sets_its_setting(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PORTAL_{name}", text)
    found = getattr(load(), name.lower())

    assert getattr(found, "get_secret_value", lambda: found)() == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HOST", "porcupine"),
        ("HOST", "192.0.2.7779"),
        ("HOST", "::g"),
        *((f"{port}_PORT", text) for port in ("HTTP", "GRPC") for text in ("0", "65536", "-7779")),
        ("DIRECT_GRPC_PORT", "65536"),
        ("DIRECT_GRPC_PORT", "porcupine"),
        ("KEY_REQUESTS_PER_SECOND", "porcupine"),
        ("KEY_REQUESTS_PER_SECOND", "-7779"),
        ("KEY_BURST", "7779777"),
        ("JWT_ISSUER", "porcupine"),
        ("JWT_ISSUER", "http://porcupine.test"),
        ("JWT_JWKS_URL", "http://porcupine.test"),
        ("JWT_ROLES", "porcupine"),
        ("JWT_ROLES", "a=porcupine"),
        ("JWT_ROLES", "porcupine=admin,"),
        ("JWT_ROLE_CLAIM", "porcupine."),
        ("DEVELOPMENT", "porcupine"),
        ("HTTP_PORT", "30.01"),
        ("GRPC_PORT", "7779x"),
        ("OPEN_REFLECTION", "perhaps"),
        ("THREADS", "0"),
        ("THREADS", "1025"),
        ("THREADS", "many"),
        ("STOP_SECONDS", "-7779"),
        ("STOP_SECONDS", "600.5"),
        ("STOP_SECONDS", "nan"),
        ("STOP_SECONDS", "inf"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "debug"),
        ("ENCRYPTION_KEYS", SECRET),
        ("ENCRYPTION_KEYS", f"{KEYS},"),
        ("ENCRYPTION_KEYS", f"{KEYS},{SECRET}"),
        ("ALLOW_PRIVATE_PROVIDERS", "porcupine"),
        ("ADMIN_KEY", f"{SECRET} {SECRET}"),
        ("ADMIN_KEY", f"{SECRET}\n"),
        ("ADMIN_KEY", f"{SECRET}\x7f"),
        ("ADMIN_KEY", f"{SECRET}ü"),
        ("ADMIN_KEY", " "),
        ("ADMIN_KEY", SECRET),
        ("DATABASE_URL", SECRET),
        ("DATABASE_URL", f"mysql://u:{SECRET}@h/d"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@h:port/d"),
        ("DATABASE_URL", f"postgresql://u:x@{SECRET}@h/d"),
        ("DATABASE_URL", f"postgresql://u:x/{SECRET}@h/d"),
        ("DATABASE_URL", f"postgres://u:1/{SECRET}@h/d"),
        ("READ_DATABASE_URL", f"sqlite:///{SECRET}"),
        ("READ_MAX_AGE_SECONDS", "0"),
    ],
)
def test_the_error_for_an_invalid_value_has_its_name_but_not_the_value(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PORTAL_{name}", text)
    with pytest.raises(SettingsError) as raised:
        load()

    text_shown = str(raised.value)
    assert text_shown.startswith(f"PORTAL_{name}: ")
    assert "\n" not in text_shown
    assert SECRET not in text_shown
    assert len(text) < 4 or text not in text_shown
    assert raised.value.__suppress_context__, "pydantic's error has the value"


@pytest.mark.parametrize("password", ["p@ss", "p/ss", "1/2", "p@/ss", "@"])
def test_a_password_that_is_not_encoded_is_an_error_that_says_how(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_DATABASE_URL", f"postgresql://u:{password}@db.test/portal")
    with pytest.raises(SettingsError) as raised:
        load()

    assert str(raised.value) == (
        "PORTAL_DATABASE_URL: percent-encode @, / and : in its user and password (%40, %2F and %3A)"
    )


@pytest.mark.parametrize(
    "rest",
    [
        "u:p%40%2F%3Ass@db.test/portal",
        "u:p:q?r@db.test:5433/portal",
        "u@db.test/portal?application_name=a@b/c",
        "/portal?host=/run/postgresql",
    ],
)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_url_of_postgresql_is_accepted_as_other_programs_write_it(
    scheme: str, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_DATABASE_URL", f"{scheme}://{rest}")

    assert load().database.drivername == "postgresql+psycopg"
    assert load().database.database == "portal"


def test_a_standby_is_one_of_postgresql_and_of_several_hosts_a_standby(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load().standby is None
    monkeypatch.setenv("PORTAL_READ_DATABASE_URL", "postgresql://a,b/d")
    with pytest.raises(SettingsError, match=r"^PORTAL_READ_DATABASE_URL: PORTAL_DATABASE_URL is"):
        _ = load().standby
    monkeypatch.setenv("PORTAL_DATABASE_URL", "postgresql://a,b/d")
    found = load()

    assert found.database.query["target_session_attrs"] == "read-write"
    assert found.standby
    assert found.standby.query["target_session_attrs"] == "standby"


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_database_url_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DATABASE_URL", value)
    with pytest.raises(SettingsError, match=r"^PORTAL_DATABASE_URL: is empty; set it to a URL"):
        load()


def test_all_invalid_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PORT", "DATABASE_URL", "LOG_LEVEL"):
        monkeypatch.setenv(f"PORTAL_{name}", "x")
    with pytest.raises(SettingsError) as raised:
        load()

    named = [part.split(":")[0] for part in str(raised.value).split("; ")]
    assert named == ["PORTAL_HTTP_PORT", "PORTAL_DATABASE_URL", "PORTAL_LOG_LEVEL"]


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("PORTAL_DATABSE_URL", "PORTAL_DATABASE_URL"),
        ("PORTAL_ADMINKEY", "PORTAL_ADMIN_KEY"),
        ("PORTAL_TARGETT", "PORTAL_TARGET"),
    ],
)
@pytest.mark.parametrize("value", ["", SECRET])
def test_the_error_for_an_unknown_name_suggests_the_closest_name(
    name: str, closest: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load()

    assert str(raised.value) == f"{name}: unknown setting; the closest is {closest}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("PORTAL_KEY", "x", id="the client's key"),
        pytest.param("PORTAL_TARGET", "x", id="the client's target"),
        pytest.param("PORTAL_TLS", "true", id="the command line's TLS"),
        pytest.param("PORTAL_CA", "x", id="the command line's CA"),
        pytest.param("PORTAL_IMPORT_KEY", "x", id="the command line's import"),
        pytest.param("HTTP_PORT", "x", id="another name"),
        pytest.param("MY_PORTAL_X", "x", id="the prefix within"),
        pytest.param("PORTAL_SERVICE_HOST", "10.0.0.1", id="a Service of Kubernetes"),
        pytest.param("PORTAL_SERVICE_PORT_REST", "3001", id="a named port of it"),
        pytest.param("PORTAL_PORT", "tcp://10.0.0.1:3001", id="its address"),
        pytest.param("PORTAL_PORT_3001_TCP_ADDR", "10.0.0.1", id="a part of its address"),
        pytest.param("PORTAL_DB_SERVICE_PORT", "5432", id="another Service"),
    ],
)
def test_other_variables_are_ignored(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = load()
    monkeypatch.setenv(name, value)

    assert load() == default


def test_passwords_and_api_keys_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_DATABASE_URL", f"postgresql://user:{SECRET}@db.test/portal")
    monkeypatch.setenv("PORTAL_ADMIN_KEY", f"{SECRET}-{SECRET}")
    found = load()
    printed = f"{found} {found!r} {found.model_dump()} {found.model_dump_json()} {found.database}"

    assert SECRET not in printed
    assert "db.test" in printed
    assert found.admin_key_text == f"{SECRET}-{SECRET}"
    assert found.database.password == SECRET


@pytest.mark.parametrize(("host", "address"), [("192.0.2.7", "192.0.2.7:80"), ("::1", "[::1]:80")])
def test_an_address_is_written_as_in_a_url(
    host: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_HOST", host)

    assert load().address(80) == address


@pytest.mark.parametrize(
    ("host", "more", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("0.0.0.0", {}, False),  # noqa: S104
        ("::", {}, False),
        ("192.0.2.7", {}, False),
        ("192.0.2.7", {"INSECURE": "true"}, True),
        ("192.0.2.7", {"TLS_CERT": "x", "TLS_KEY": "y"}, True),
    ],
)
def test_a_network_needs_tls_or_the_setting_that_says_it_has_none(
    host: str, more: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, allowed: bool
) -> None:
    for name, value in ({"HOST": host} | more).items():
        monkeypatch.setenv(f"PORTAL_{name}", value)
    found = load()

    with nullcontext() if allowed else pytest.raises(SettingsError, match=f"^PORTAL_HOST: {host} "):
        found.require_protected()


def test_settings_do_not_change_after_the_start() -> None:
    found = load()

    with pytest.raises(ValueError, match="frozen"):
        found.threads = 3


@pytest.mark.parametrize(
    ("text", "url"),
    [
        pytest.param("sqlite:///x.db", "sqlite:///x.db", id="a file"),
        pytest.param("sqlite:///./data/x.db", "sqlite:///./data/x.db", id="a file in a folder"),
        pytest.param("sqlite:////x.db", "sqlite:////x.db", id="a file from the root"),
        pytest.param("sqlite+pysqlite:///x.db", "sqlite+pysqlite:///x.db", id="pysqlite"),
        pytest.param("postgresql://h/d", "postgresql+psycopg://h/d", id="postgresql"),
        pytest.param("postgresql+psycopg://h/d", "postgresql+psycopg://h/d", id="psycopg"),
        pytest.param(
            "postgresql://u:p%40@h:5433/d?sslmode=require",
            "postgresql+psycopg://u:p%40@h:5433/d?sslmode=require",
            id="all parts",
        ),
        pytest.param("postgresql://[::1]:5/d", "postgresql+psycopg://[::1]:5/d", id="IPv6"),
        pytest.param(
            "postgresql://u:p@a,b/d",
            "postgresql+psycopg://u:p@/d?host=a%2Cb&target_session_attrs=read-write",
            id="two hosts",
        ),
        pytest.param(
            "postgres://[::1]:5,b/d?target_session_attrs=any&sslmode=require",
            "postgresql+psycopg:///d?host=%3A%3A1%2Cb&port=5%2C&sslmode=require"
            "&target_session_attrs=any",
            id="two hosts with a port and parameters",
        ),
        pytest.param(
            "postgresql:///d?host=a:1&host=b:2",
            "postgresql+psycopg:///d?host=a%3A1&host=b%3A2&target_session_attrs=read-write",
            id="two hosts as SQLAlchemy has them",
        ),
    ],
)
def test_a_database_is_a_sqlite_file_or_postgresql(text: str, url: str) -> None:
    assert parse_url(text).render_as_string(hide_password=False) == url


def test_what_is_not_a_database_url_is_rejected_with_examples() -> None:
    with pytest.raises(ValueError, match=r"such as sqlite:///\./data/portal\.db or postgresql://"):
        parse_url("data/portal.db")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("portal.db", id="a path"),
        pytest.param("sqlite", id="a name"),
        pytest.param("sqlite:", id="a scheme"),
        pytest.param("sqlite://", id="memory"),
        pytest.param("sqlite:///", id="memory with a slash"),
        pytest.param("sqlite:///:memory:", id="memory by name"),
        pytest.param("sqlite:///file:x?mode=memory&uri=true", id="memory by URI"),
        pytest.param("sqlite:///x.db?timeout=1", id="a query"),
        pytest.param("sqlite://data/portal.db", id="two slashes, so that a folder is a host"),
        pytest.param(f"sqlite://u:{SECRET}@/x.db", id="SQLite with a password"),
        pytest.param("sqlite+aiosqlite:///x.db", id="another driver of SQLite"),
        pytest.param("postgresql+psycopg2://h/d", id="another driver of PostgreSQL"),
        pytest.param(f"mysql://u:{SECRET}@h/d", id="another database"),
        pytest.param(f"postgresql://u:{SECRET}@h:port/d", id="a port that is not a number"),
        pytest.param(f"postgresql://u:{SECRET}@a:1,b:port/d", id="a port of several"),
        pytest.param(f"postgresql://u:{SECRET}@a,,b/d", id="an empty host of several"),
        pytest.param(f"postgresql://u:{SECRET}@h/d?pgbouncer=1", id="a pooler, perhaps"),
        pytest.param(f"http://u:{SECRET}@h/d", id="no database"),
    ],
)
def test_any_other_database_url_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|needs|must) ") as raised:
        parse_url(text)

    assert SECRET not in str(raised.value)
    assert "@" not in str(raised.value)


def test_docs_settings_md_is_current() -> None:
    page = PAGE.read_text()

    assert page == current(page)


FILES = {name: file for name, file in SECRETS.items() if file not in settings.Settings.model_fields}
VALID = {
    "database_url": "postgresql://u:p@h/d",
    "read_database_url": "postgresql://u:p@standby/d",
    "admin_key": f"{SECRET}-{SECRET}",
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.touch(0o600)
    return file


def test_every_secret_can_be_in_a_file() -> None:
    others = {"database_url", "read_database_url", "admin_key"}
    assert set(SECRETS) == {*others, "encryption_keys"}
    assert set(FILES) == set(VALID)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_is_read_from_its_file_without_the_end_of_the_line(
    name: str, end: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.write_text(VALID[name] + end, newline="")
    monkeypatch.setenv(f"PORTAL_{name.upper()}_FILE", str(secret))
    found = load()

    assert getattr(found, name).get_secret_value() == VALID[name]
    assert VALID[name] not in f"{found!r}"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_a_variable_and_in_a_file_is_an_error(
    name: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.write_text(KEYS)
    monkeypatch.setenv(f"PORTAL_{name.upper()}", KEYS)
    monkeypatch.setenv(f"PORTAL_{name.upper()}_FILE", str(secret))
    with pytest.raises(SettingsError) as raised:
        load()

    variable = f"PORTAL_{name.upper()}"
    assert f"{variable}: {variable}_FILE is set, too; set one of them" in str(raised.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [
        (b"", 0o600, "{file}: is empty"),
        (b"\n", 0o600, "{file}: is empty"),
        (b"\xff", 0o600, "{file}: is not a text"),
        (None, 0o600, "{file}: No such file or directory"),
        (b"x", 0o640, "{file}: can be read by others: set its mode to 0600"),
        (SECRET.encode(), 0o600, ""),
    ],
)
def test_the_error_for_a_file_has_the_name_of_its_variable_but_not_the_secret(  # noqa: PLR0913, PLR0917
    name: str,
    content: bytes | None,
    mode: int,
    error: str,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if content is None:
        secret.unlink()
    else:
        secret.write_bytes(content)
        secret.chmod(mode)
    monkeypatch.setenv(f"PORTAL_{name.upper()}_FILE", str(secret))
    with pytest.raises(SettingsError) as raised:
        load()

    expected = f"PORTAL_{name.upper()}_FILE: {error.format(file=secret)}"
    assert str(raised.value).startswith(expected)
    assert SECRET not in str(raised.value)


def test_encryption_keys_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_ENCRYPTION_KEYS", KEYS)
    found = load()

    assert found.encryption_key_bytes == [ONE, OTHER]
    assert KEYS[:20] not in repr(found)


def test_an_invalid_encryption_key_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_ENCRYPTION_KEYS", f"{KEYS},{SECRET}")
    with pytest.raises(SettingsError, match=r"PORTAL_ENCRYPTION_KEYS: .*key 3 is not") as caught:
        load()

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "setting", "allowed"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("0.0.0.0", "", False),  # noqa: S104
        ("192.0.2.7", "", False),
        ("127.0.0.1", "false", False),
        ("0.0.0.0", "true", True),  # noqa: S104
    ],
)
def test_private_providers_are_allowed_by_default_on_a_loopback_address_only(
    host: str, setting: str, monkeypatch: pytest.MonkeyPatch, *, allowed: bool
) -> None:
    monkeypatch.setenv("PORTAL_HOST", host)
    monkeypatch.setenv("PORTAL_ALLOW_PRIVATE_PROVIDERS", setting)

    assert load().private_providers_allowed is allowed
