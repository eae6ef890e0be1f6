"""What the commands report when PostgreSQL rejects them, from a real PostgreSQL."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import psycopg
import pytest

from portal_server.storage.sql.engine import parse_url
from portal_server.storage.sql.first_connection import explanation
from tests.support.postgres import Postgres, free_port, running_postgres
from tests.support.stack import portal

PASSWORD = "s3cr3t-w0rd"  # noqa: S105
COMMANDS = ("up", "migrate", "serve", "keys list", "keys create")

# Who may connect from where, with what; PostgreSQL takes the first line that fits.
RULES = """
host    all trusted,postgres,nologin,missing all trust
host    all asked 127.0.0.1/32 scram-sha-256
hostssl all encrypted 127.0.0.1/32 trust
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with running_postgres() as running:
        with psycopg.connect(running.url().replace("+psycopg", ""), autocommit=True) as connection:
            for role in ("trusted", "encrypted", "nobody_else"):
                connection.execute(f"CREATE ROLE {role} LOGIN")
            connection.execute(f"CREATE ROLE asked LOGIN PASSWORD '{PASSWORD}x'")
            connection.execute("CREATE ROLE nologin")
            connection.execute("CREATE DATABASE closed")
            connection.execute("REVOKE CONNECT ON DATABASE closed FROM public")
        running.set_rules(RULES)
        yield running


def rejection(name: str, url: str, **settings: str) -> str:
    """The one line that a command prints about its database."""
    free = {f"PORTAL_{port}_PORT": str(free_port()) for port in ("HTTP", "GRPC")}
    done = portal(*name.split(), **(free | settings), PORTAL_DATABASE_URL=url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert PASSWORD not in done.stderr
    return done.stderr.removeprefix("portal: ").strip()


@pytest.mark.parametrize(
    ("who", "rest", "cause"),
    [
        pytest.param(
            "asked",
            "/postgres",
            'it rejects the password of the role "asked", or the role does not exist;'
            " set the user and the password in",
            id="a wrong password",
        ),
        pytest.param(
            "missing",
            "/postgres",
            'the role "missing" does not exist; create it, or set the user in',
            id="no such role",
        ),
        pytest.param(
            "nologin",
            "/postgres",
            'the role "nologin" may not log in; give it LOGIN, or set the user in',
            id="a role without LOGIN",
        ),
        pytest.param(
            "trusted",
            "/nowhere",
            'the database "nowhere" does not exist; create it, or set the database in',
            id="no such database",
        ),
        pytest.param(
            "trusted",
            "/closed",
            'the role may not connect to the database "closed"; grant it CONNECT, or set the'
            " user in",
            id="a database of others",
        ),
        pytest.param(
            "trusted",
            "/postgres?sslmode=require",
            "it does not support TLS, which sslmode requires; turn TLS on there, or remove"
            " sslmode from",
            id="TLS not supported",
        ),
        pytest.param(
            "encrypted",
            "/postgres",
            "it accepts no connection without TLS from here for this user and database; set"
            " sslmode=require in",
            id="TLS required",
        ),
        pytest.param(
            "trusted",
            "/postgres?sslmode=porcupine",
            'invalid sslmode value: "porcupine"; check',
            id="another cause",
        ),
        pytest.param(
            "trusted",
            "/postgres?porcupine=1",
            'invalid connection option "porcupine"; check',
            id="an unknown parameter",
        ),
    ],
)
def test_a_rejected_connection_is_one_line_with_its_cause(
    cluster: Postgres, who: str, rest: str, cause: str
) -> None:
    place = f"127.0.0.1:{cluster.port}"

    assert rejection("up", f"postgresql://{who}:{PASSWORD}@{place}{rest}") == (
        f"PostgreSQL at {place}: {cause} PORTAL_DATABASE_URL"
    )


@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_reports_it_at_every_level_of_the_log(
    cluster: Postgres, name: str, level: str
) -> None:
    url = f"postgres://asked:{PASSWORD}@127.0.0.1:{cluster.port}/postgres"
    settings = {"PORTAL_LOG_LEVEL": level} if level == "ERROR" else {}

    assert 'the password of the role "asked"' in rejection(name, url, **settings)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_password_that_is_not_encoded_is_not_shown(name: str) -> None:
    url = f"postgresql://u:p@{PASSWORD}@127.0.0.1/postgres"

    assert rejection(name, url).startswith("PORTAL_DATABASE_URL: percent-encode @, / and :")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_url_stops_every_command(name: str) -> None:
    assert rejection(name, "").startswith("PORTAL_DATABASE_URL: is empty")


def test_a_host_that_does_not_resolve_is_named() -> None:
    assert rejection("migrate", f"postgresql://u:{PASSWORD}@db.invalid/x") == (
        "PostgreSQL at db.invalid:5432: the host name does not resolve;"
        " set the host in PORTAL_DATABASE_URL"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_where_nothing_listens_is_named(host: str) -> None:
    place = f"{host}:{free_port()}"

    assert rejection("migrate", f"postgresql://u:{PASSWORD}@{place}/x") == (
        f"PostgreSQL at {place}: nothing listens there; start it, or set PORTAL_DATABASE_URL"
    )


def test_each_of_several_hosts_is_named(cluster: Postgres) -> None:
    closed, writable = free_port(), f"127.0.0.1:{cluster.port}"
    hosts = f"127.0.0.1:{closed},{writable}"
    reported = rejection("migrate", f"postgresql://trusted:{PASSWORD}@{hosts}/nowhere")
    cluster.set("default_transaction_read_only", "on")
    read_only = rejection("migrate", f"postgresql://trusted:{PASSWORD}@{hosts}/postgres")
    with psycopg.connect(cluster.url().replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")
    place = f"PostgreSQL at {hosts}"

    assert reported == (
        f'{place}: the database "nowhere" does not exist; create it, or set the database in'
        " PORTAL_DATABASE_URL"
    )
    assert read_only == (
        f"{place}: it accepts no writes; promote a standby, or set the hosts in PORTAL_DATABASE_URL"
    )


@contextmanager
def listening_program(response: bytes) -> Iterator[int]:
    """A port of something else, which sends this to everyone, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection)
                if response:
                    connection.sendall(response)

        Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        pytest.param(b"HTTP/1.1 400\r\n\r\n", "what listens there is not PostgreSQL", id="HTTP"),
        pytest.param(b"", "there is no response", id="nothing"),
    ],
)
def test_another_program_at_the_port_is_reported(response: bytes, cause: str) -> None:
    with listening_program(response) as port:
        assert cause in rejection("migrate", f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/x")


def test_a_role_that_may_not_create_tables_is_reported(cluster: Postgres) -> None:
    url = f"postgresql://trusted@127.0.0.1:{cluster.port}/postgres"

    assert rejection("migrate", url) == (
        "the database cannot be migrated: permission denied for schema public;"
        " make this role the owner of the database"
    )


def test_the_first_real_cause_of_several_addresses_is_reported() -> None:
    url = parse_url("postgresql://u:p@localhost/x")
    closed = "connection failed: connection to server failed: Connection refused"
    wrong = 'connection failed: connection to server failed: FATAL:  database "x" does not exist'
    attempts = "\n".join(
        f"- host: 'localhost', port: None, hostaddr: '{address}': {text}"
        for address, text in (("::1", closed), ("127.0.0.1", wrong))
    )
    text = f"{closed}\nMultiple connection attempts failed. All failures were:\n{attempts}"

    assert 'the database "x" does not exist' in explanation(url, text)


def test_an_unknown_text_is_shown_on_one_line_without_the_password() -> None:
    url = parse_url(f"postgresql://u:{PASSWORD}@db.test/x")
    text = (
        'connection failed: connection to server at "192.0.2.1", port 5432 failed: FATAL:'
        f"  sorry\nDETAIL:  {PASSWORD}"
    )

    assert explanation(url, text) == (
        "PostgreSQL at db.test:5432: sorry DETAIL: ***; check PORTAL_DATABASE_URL"
    )


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u@[::1]:5433/x", "at [::1]:5433"),
        ("postgresql:///x?host=/run/postgresql", "in /run/postgresql"),
        ("postgresql:///x?host=a:1&host=b:2", "at a:1,b:2"),
        ("postgresql:///x", "at its default address"),
    ],
)
def test_the_place_is_that_of_the_url(url: str, place: str) -> None:
    assert explanation(parse_url(url), "x").startswith(f"PostgreSQL {place}: x; ")
