"""`portal contexts …`."""

from pathlib import Path
from typing import Annotated

import typer

from portal_cli import contexts, documents, options
from portal_cli.commands import Commands
from portal_cli.contexts import Connection
from portal_cli.errors import CommandError, Exit
from portal_cli.output import report, write_rows
from portal_client.connection import check_key

app = Commands(help="Save connections with their API keys, and choose one.")

_COLUMNS = ("current", "name", "target", "tls", "key")


def _names(_context: typer.Context) -> list[tuple[str, str]]:
    try:
        return [(name, one.target) for name, one in contexts.load().contexts.items()]
    except CommandError:
        return []


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the context.", autocompletion=_names)
]


@app.command(
    "set",
    examples=(
        "portal contexts set local --target localhost:50051 --key-file key.txt",
        "portal contexts set live --target portal.example.com:443 --tls --key-file -",
    ),
)
def set_(
    context: typer.Context,
    name: Name,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the API key; - is standard input.")
    ] = None,
) -> None:
    """Save --target and the options of TLS as a context. The first one is used."""
    given = options.given(context).arguments
    if "target" not in given:
        raise CommandError("pass --target", Exit.USAGE)
    if "key" in given:
        raise CommandError("pass the API key with --key-file, not with --key", Exit.USAGE)
    key = documents.read(key_file).strip() if key_file else None
    try:
        check_key(key or "")
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    files = {name: given[name].absolute() for name in ("ca", "cert", "cert_key") if name in given}
    saved = contexts.load()
    saved.contexts[name] = Connection(
        target=given["target"],
        key=key,
        tls=given.get("tls", False),
        **files,
    )
    saved.current = saved.current or name
    contexts.save(saved)
    report(f"saved the context {name}{', which is used' if saved.current == name else ''}")


@app.command(examples=("portal contexts use live",))
def use(name: Name) -> None:
    """Use a context for all commands without --context and --target."""
    saved = contexts.load()
    saved.named(name)
    saved.current = name
    contexts.save(saved)
    report(f"using the context {name}")


@app.command("list", examples=("portal contexts list", "portal contexts list -o json"))
def list_(context: typer.Context) -> None:
    """List the contexts, without their API keys."""
    saved = contexts.load()
    rows = [
        {
            "current": name == saved.current,
            "name": name,
            "target": one.target,
            "tls": one.tls or one.ca is not None or one.cert is not None,
            "key": one.key is not None,
        }
        for name, one in saved.contexts.items()
    ]
    write_rows(rows, _COLUMNS, options.given(context).output, what="contexts")


@app.command(examples=("portal contexts delete local",))
def delete(name: Name) -> None:
    """Delete a context."""
    saved = contexts.load()
    saved.named(name)
    del saved.contexts[name]
    if saved.current == name:
        saved.current = None
    contexts.save(saved)
    report(f"deleted the context {name}")
