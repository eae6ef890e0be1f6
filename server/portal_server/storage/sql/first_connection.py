"""The first connection of a command, and what its operator can do if PostgreSQL rejects it.

A running server reports a failed connection to callers as unavailable storage. When a command
starts, somebody can still change the settings: the error has the place, the cause and the setting.

libpq gives no SQLSTATE for a failed connection, so its text decides. A server may translate its
own texts (`lc_messages`): an unknown text is shown as it is.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, exc
from sqlalchemy.engine import URL

from portal_server.domain.errors import OperatorError
from portal_server.storage.sql.engine import POOL_SIZE, open_engine
from portal_server.storage.sql.failures import translated
from portal_server.storage.sql.hosts import hosts_of

_SETTING = "PORTAL_DATABASE_URL"
_PORT = 5432
# Parameters of libpq that are secrets, in addition to the password of the URL.
_SECRETS = ("password", "sslpassword")


class CannotConnect(OperatorError):
    """The database rejects connections; the text has no password."""


# What libpq and PostgreSQL report, in the order in which they are tried, and what to do.
_REASONS = (
    (
        r'password authentication failed for user "(?P<role>.*?)"',
        'it rejects the password of the role "{role}", or the role does not exist',
        "set the user and the password in",
    ),
    (r"no password supplied", "it requires a password", "set the password in"),
    (
        r'role "(?P<role>.*?)" does not exist',
        'the role "{role}" does not exist',
        "create it, or set the user in",
    ),
    (
        r'role "(?P<role>.*?)" is not permitted to log in',
        'the role "{role}" may not log in',
        "give it LOGIN, or set the user in",
    ),
    (
        r'database "(?P<database>.*?)" does not exist',
        'the database "{database}" does not exist',
        "create it, or set the database in",
    ),
    (
        r'permission denied for database "(?P<database>.*?)"',
        'the role may not connect to the database "{database}"',
        "grant it CONNECT, or set the user in",
    ),
    (
        r"server does not support SSL",
        "it does not support TLS, which sslmode requires",
        "turn TLS on there, or remove sslmode from",
    ),
    (
        r"no pg_hba\.conf entry .*no encryption",
        "it accepts no connection without TLS from here for this user and database",
        "set sslmode=require in",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "its pg_hba.conf does not allow this user and database from here",
        "add an entry there, or change",
    ),
    (
        r"root certificate file .* does not exist",
        "sslmode requires a file with the certificate of its CA",
        "add sslrootcert=FILE (or system) to",
    ),
    (
        r"certificate verify failed",
        "its certificate is not signed by a CA of sslrootcert",
        "set sslrootcert in",
    ),
    (
        r"server certificate for .* does not match host name",
        "its certificate is for another host name",
        "set the host in",
    ),
    (
        r"failed to resolve host|could not translate host name",
        "the host name does not resolve",
        "set the host in",
    ),
    (
        r"session is read-only|server is in hot standby mode",
        "it accepts no writes",
        "promote a standby, or set the hosts in",
    ),
    (r"Connection refused|No such file or directory", "nothing listens there", "start it, or set"),
    (
        r"No route to host|Network is unreachable",
        "the network has no route to it",
        "set the host in",
    ),
    (
        r"timeout expired|Connection timed out",
        "there is no response",
        "check that it runs and that no firewall is between, or set",
    ),
    (
        r"invalid response to SSL negotiation|expected authentication request",
        "what listens there is not PostgreSQL",
        "set the host and the port in",
    ),
    (
        r"too many (clients|connections)|remaining connection slots",
        "it has no free connection",
        "raise max_connections there, or start fewer servers (PORTAL_WORKERS) on",
    ),
    (
        r"unsupported startup parameter",
        "it is PgBouncer",
        "add pgbouncer=true to",
    ),
    (
        r"starting up|shutting down|in recovery",
        "it does not accept connections yet",
        "wait, or set",
    ),
)


def open_connected(url: URL, connections: int = POOL_SIZE) -> Engine:
    """An engine of `open_engine` that has connected once.

    Raises:
        CannotConnect: PostgreSQL cannot be reached, or rejects this user.
        PortalError: SQLite's file cannot be opened.
        OSError: see `open_engine`.
    """
    engine = open_engine(url, connections)
    try:
        with translated(), _explained(url), engine.connect():
            pass
    except BaseException:
        engine.dispose()
        raise
    return engine


def place(url: URL) -> str:
    """Where PostgreSQL is, for people: host and port."""
    hosts = hosts_of(url)
    if not hosts:
        return "at its default address"
    if len(hosts) > 1:
        return f"at {','.join(hosts)}"
    [host] = hosts
    if host.startswith("/"):
        return f"in {host}"
    if not url.host:
        return f"at {host}"
    address = f"[{url.host}]" if ":" in url.host else url.host
    return f"at {address}:{url.port or _PORT}"


def explanation(url: URL, text: str) -> str:
    """One sentence: the place, the cause, and what to set.

    Args:
        url: the database.
        text: the driver's text. If it tried several addresses, there is a line for each.
    """
    where = f"PostgreSQL {place(url)}"
    cause = _first_cause(text)
    for pattern, reason, advice in _REASONS:
        if found := re.search(pattern, cause):
            return f"{where}: {reason.format(**found.groupdict())}; {advice} {_SETTING}"
    return f"{where}: {_without_secrets(_own_words(cause), url)}; check {_SETTING}"


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error):
            raise
        raise CannotConnect(explanation(url, str(error.orig))) from None


def _first_cause(text: str) -> str:
    """The first failure that is more than a closed port, or else the first one.

    `localhost` is two addresses, and PostgreSQL may listen on one.
    """
    _, _, listed = text.partition("All failures were:\n")
    causes = re.split(r"^- host: ", listed, flags=re.MULTILINE)[1:] if listed else [text]
    cause = next((cause for cause in causes if "Connection refused" not in cause), causes[0])
    # libpq tries with TLS and then without: the second failure only follows from the first.
    return cause.partition("\nconnection to server")[0]


def _own_words(cause: str) -> str:
    """The driver's text on one line, without the address."""
    text = " ".join(cause.split())
    begin = r"(connection (failed|is bad): )?(connection to server .*? failed: )?(FATAL: )?"
    return re.sub(f"^{begin}", "", text)


def _without_secrets(text: str, url: URL) -> str:
    secrets = [url.password, *(url.query.get(name) for name in _SECRETS)]
    for secret in filter(None, secrets):
        text = text.replace(str(secret), "***")
    return text
