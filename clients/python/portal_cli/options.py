"""Options that several commands share."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from portal_cli import contexts, reachability
from portal_cli.errors import CommandError, Exit
from portal_client import Portal, PortalError, Tls
from portal_client.connection import TARGET, TIMEOUT_S

PANEL: Final = "Common options, before or after the command"

Etag = Annotated[str, typer.Option(help="Only if this is the current etag of the resource.")]
Uid = Annotated[
    str, typer.Option(help="UUID of the resource in another system; default: a new one.")
]
Force = Annotated[bool, typer.Option("--force", help="Delete its clients first.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


class Output(StrEnum):
    """The format of results."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def _default_target() -> str:
    """Where `portal up` of the same environment listens."""
    port = os.environ.get("PORTAL_GRPC_PORT")
    return f"{TARGET.partition(':')[0]}:{port}" if port else TARGET


@dataclass(frozen=True, slots=True)
class Options:
    """The common options of a command."""

    target: str = field(default_factory=_default_target)
    key: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None
    timeout: float = TIMEOUT_S
    output: Output = Output.TABLE

    def credentials(self) -> Tls | None:
        """The TLS settings; None for plaintext.

        Raises:
            CommandError: the client certificate has no private key, or the other way round.
        """
        if bool(self.cert) != bool(self.cert_key):
            text = "a client certificate needs both --cert and --cert-key"
            raise CommandError(f"{text} (PORTAL_CERT and PORTAL_CERT_KEY)", Exit.USAGE)
        if not (self.tls or self.ca or self.cert):
            return None
        return Tls(ca=self.ca, certificate=self.cert, private_key=self.cert_key)

    @contextmanager
    def portal(self) -> Iterator[Portal]:
        """A client for the portal.

        Raises:
            CommandError: the API key is missing or invalid, a file cannot be read, or the portal
                cannot be reached; the text has the cause.
        """
        if not self.key:
            raise CommandError("no API key: set PORTAL_KEY or pass --key", Exit.USAGE)
        reachability.check_target(self.target)
        tls = self.credentials()
        try:
            portal = Portal(self.target, key=self.key, tls=tls or False, timeout=self.timeout)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise CommandError(str(error), Exit.USAGE) from None
        with portal:
            try:
                yield portal
            except PortalError as error:
                cause = reachability.other_version(portal, error) or reachability.cause(
                    error, self.target, tls
                )
                if cause is None:
                    raise
                raise CommandError(cause, Exit.NO_SERVER) from None


@dataclass(slots=True)
class Given:
    """The values of the common options that were given, by name.

    Attributes:
        arguments: from the command line, before or after the command.
        variables: from environment variables.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> Output:
        """The format of results."""
        found: Output = self.arguments.get("output", Output.TABLE)
        return found

    @property
    def names_portal(self) -> bool:
        """Whether a portal is given: a target, a context, or a current context."""
        names = {"target", "context"}
        given = self.arguments.keys() | self.variables.keys()
        return bool(names & given) or contexts.load().current is not None

    def options(self) -> Options:
        """The options: an argument wins over a variable, and a variable over a context.

        A target that is given does not get the API key of a context. A context that is given as an
        argument replaces the connection of the variables.

        Raises:
            CommandError: both are given, or the context is unknown.
        """
        arguments, variables = dict(self.arguments), dict(self.variables)
        chosen = arguments.pop("context", None)
        if chosen and "target" in arguments:
            raise CommandError("pass --context or --target, not both", Exit.USAGE)
        if chosen:
            return Options(**(dict(contexts.load().named(chosen)) | arguments))
        name = variables.pop("context", None)
        if "target" in arguments or "target" in variables:
            return Options(**(variables | arguments))
        saved = contexts.load()
        name = name or saved.current
        connection = dict(saved.named(name)) if name else {}
        return Options(**(connection | variables | arguments))


def _keep(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    source = context.get_parameter_source(parameter.name)
    found = given(context)
    kept = {"COMMANDLINE": found.arguments, "ENVIRONMENT": found.variables}
    if source is not None and source.name in kept:
        kept[source.name][parameter.name] = value
    return value


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(
        *names,
        callback=_keep,
        expose_value=False,
        rich_help_panel=PANEL,
        show_envvar=True,
        **settings,
    )


_common = typer.Typer(add_completion=False)


@_common.command()
def _(
    target: Annotated[
        str | None,
        _option(
            envvar="PORTAL_TARGET",
            help=f"gRPC address of the portal, host:port; default: {TARGET}, or PORTAL_GRPC_PORT"
            " there.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        _option(
            envvar="PORTAL_KEY", help="API key. Prefer PORTAL_KEY: other users can see arguments."
        ),
    ] = None,
    tls: Annotated[bool | None, _option("--tls", envvar="PORTAL_TLS", help="Use TLS.")] = None,
    ca: Annotated[
        Path | None,
        _option(envvar="PORTAL_CA", help="PEM file with CA certificates to trust; implies --tls."),
    ] = None,
    cert: Annotated[
        Path | None,
        _option(envvar="PORTAL_CERT", help="PEM file with a client certificate; implies --tls."),
    ] = None,
    cert_key: Annotated[
        Path | None,
        _option(envvar="PORTAL_CERT_KEY", help="PEM file with the private key of --cert."),
    ] = None,
    context: Annotated[
        str | None,
        _option(envvar="PORTAL_CONTEXT", help="Saved connection, from `portal contexts`."),
    ] = None,
    timeout: Annotated[
        float | None,
        _option(
            help=f"Seconds that a request may take, including retries; default: {TIMEOUT_S:g}.",
            min=0.001,
        ),
    ] = None,
    output: Annotated[
        Output | None,
        # Eager: the format of an error about another option.
        _option("--output", "-o", is_eager=True, help="Format of results and errors."),
    ] = None,
) -> None:
    """Declare the common options."""


COMMON: Final = tuple(typer.main.get_command(_common).params)
"""The options that are accepted before and after a command."""
LOCAL: Final = tuple(one for one in COMMON if one.name == "output")
"""Those of a command that calls no portal."""


def of(context: typer.Context, **more: Any) -> Options:
    """The common options of a command; `more` replaces some."""
    return replace(given(context).options(), **more)


def given(context: typer.Context) -> Given:
    """The values of the common options that were given."""
    return context.find_root().ensure_object(Given)


def require_change(names: Sequence[str]) -> None:
    """Raise CommandError if an update has no fields."""
    if not names:
        raise CommandError("nothing to update: pass at least one field", Exit.USAGE)


def confirm(question: str, *, yes: bool) -> None:
    """Ask the user, unless `--yes` was passed.

    Raises:
        typer.Abort: the user did not confirm.
        CommandError: standard input is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} stdin is not a terminal; pass --yes to confirm", Exit.USAGE)
    typer.confirm(question, abort=True, err=True)
