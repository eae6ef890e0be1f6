"""The commands of `portal audit` that work on the database, in addition to those of the client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from portal_cli.audit import app, time_of
from portal_cli.commands import LocalCommand
from portal_cli.errors import CommandError, Exit
from portal_server.domain.calls import Call, Origin
from portal_server.run.commands import load_settings, one_line_errors

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from portal_server.storage.store import Store

__all__ = ["app"]


@app.command(
    cls=LocalCommand,
    examples=("portal audit verify", "portal audit verify --expect $HEAD"),
)
@one_line_errors
def verify(
    expect: Annotated[
        str, typer.Option(help="Head that an earlier run printed: it must still be there.")
    ] = "",
) -> None:
    """Verify that no audit event was changed, in the database; print the head of the chain.

    Keep the head in another place, and compare it later with --expect. The exit code is 65 if
    something was changed: each problem is a line.
    """
    from portal_server.catalog.audit_verification import verify

    with _store() as store:
        report = verify(store, _command("verify"), expect)
    for problem in report.problems:
        typer.echo(problem)
    counts = f"{report.verified} events, {report.removed} removed, {report.unsealed} not sealed yet"
    if report.problems:
        raise CommandError(f"the audit log was changed: {counts}", Exit.DATA)
    typer.echo(report.head)
    typer.echo(f"portal: the audit log is unchanged: {counts}", err=True)


@app.command(cls=LocalCommand, examples=("portal audit prune --before 2026-01-01T00:00:00Z",))
@one_line_errors
def prune(
    before: Annotated[
        str,
        typer.Option(help="Remove older events: a time, or 90d ago.", show_default=False),
    ],
) -> None:
    """Remove old audit events, in the database; their seals stay, and can be verified.

    The removal is an audit event. On PostgreSQL only the owner of the tables may do it.
    """
    from portal_server.catalog.audit_log import AuditLog
    from portal_server.storage.sql.roles import require_prunable

    time = time_of(before, "--before")
    with _store(require_prunable) as store:
        last = AuditLog(store).prune(_command("prune"), time)
    text = f"removed the events up to position {last}" if last else "no event is older"
    typer.echo(f"portal: {text}", err=True)


def _command(name: str) -> Call:
    return Call(origin=Origin(f"portal audit {name}"))


@contextmanager
def _store(check: "Callable[[Engine], None]" = lambda _: None) -> "Iterator[Store]":
    settings = load_settings()
    from portal_server.run.existing import open_existing
    from portal_server.storage.sql.schema import require_known
    from portal_server.storage.store import Store

    engine = open_existing(settings)
    require_known(engine)
    check(engine)
    store = Store(engine)
    try:
        yield store
    finally:
        store.close()
