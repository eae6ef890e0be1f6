"""The commands for the whole database."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portal_cli.commands import Commands, LocalCommand
from portal_cli.errors import CommandError, Exit
from portal_server.run.commands import load_settings, one_line_errors

if TYPE_CHECKING:
    from portal_server.storage.backup.archive import Manifest

app = Commands()


@app.command(
    cls=LocalCommand,
    examples=(
        "portal backup portal-2026-11-29.zip",
        "PORTAL_DATABASE_URL=postgresql://portal@db/portal portal backup portal.zip",
    ),
)
@one_line_errors
def backup(
    file: Annotated[Path, typer.Argument(help="File to create, with mode 0600.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Back up the database to a file, while servers run, and verify the file.

    It has all rows of one moment. Secrets in it stay encrypted. It does not have the encryption
    keys: back them up in another place.
    """
    settings = load_settings()
    from portal_server.run.backups import back_up

    _give_way()
    manifest = back_up(settings, file, replace=force)
    typer.echo(f"portal: backed up {_summary(manifest)} to {file}", err=True)


@app.command(
    cls=LocalCommand,
    examples=(
        "PORTAL_DATABASE_URL=postgresql://portal@db/portal portal restore portal.zip",
        "portal restore --verify portal.zip",
    ),
)
@one_line_errors
def restore(
    file: Annotated[Path, typer.Argument(help="File from `portal backup`.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Only verify the file; no database is used.")
    ] = False,
) -> None:
    """Restore a backup to the empty database of PORTAL_DATABASE_URL, and check it.

    A backup of either kind of database can be restored to either kind. One of an earlier version
    is migrated. No portal may run on the database.
    """
    settings = load_settings()
    from portal_server.run import backups

    if verify:
        manifest = backups.verify(file)
        typer.echo(f"portal: {file} is valid: {_summary(manifest)}", err=True)
        return
    manifest = backups.restore(settings, file)
    typer.echo(f"portal: restored {_summary(manifest)} from {file}", err=True)
    _report(list(backups.check(settings)))


@app.command(cls=LocalCommand, examples=("portal check",))
@one_line_errors
def check() -> None:
    """Check the database, while servers run; print each problem on a line.

    The exit code is 65 if there is a problem.
    """
    settings = load_settings()
    from portal_server.run import backups

    _give_way()
    _report(list(backups.check(settings)))


def _give_way() -> None:
    """Leave the CPU to servers on this machine."""
    os.nice(10)


def _report(problems: list[str]) -> None:
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise CommandError(f"the database has {len(problems)} problems", Exit.DATA)
    typer.echo("portal: the database is consistent", err=True)


def _summary(manifest: "Manifest") -> str:
    taken = f"taken at {manifest.create_time} from {manifest.database}"
    return f"{manifest.rows} rows of schema {manifest.schema}, {taken},"
