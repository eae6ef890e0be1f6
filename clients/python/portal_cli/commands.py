"""How commands look: the options that all share, their order in the help, examples."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from portal_cli import options

_Function = TypeVar("_Function", bound=Callable[..., Any])

HELP: Final = {"help_option_names": ["-h", "--help"]}


def _write_section(formatter: Any, title: str, records: Sequence[Any]) -> None:
    if records:
        with formatter.section(title):
            formatter.write_dl(records)


class _WithCommonOptions:
    """Accepts the common options, unless the command has options of these names.

    In the help they are the last section, after the examples.
    """

    common: ClassVar[Sequence[Any]] = options.COMMON

    def get_params(self, context: Any) -> list[Any]:
        """The parameters: its own, then the common ones."""
        own: list[Any] = super().get_params(context)  # type: ignore[misc]
        taken = {name for one in own for name in one.opts}
        more = [one for one in self.common if taken.isdisjoint(one.opts)]
        # The option of the help is the last.
        return [*own[:-1], *more, *own[-1:]]

    def format_options(self, context: Any, formatter: Any) -> None:
        """Write the sections of the help that follow the description."""
        sections: dict[str, list[Any]] = {"Arguments": [], "Options": [], options.PANEL: []}
        for one in self.get_params(context):
            panel = "Arguments" if one.param_type_name == "argument" else one.rich_help_panel
            record = one.get_help_record(context)
            if record:
                sections[panel or "Options"].append(record)
        self.format_commands(context, formatter)
        common = sections.pop(options.PANEL)
        for title, records in sections.items():
            _write_section(formatter, title, records)
        super().format_epilog(context, formatter)  # type: ignore[misc]
        _write_section(formatter, options.PANEL, common)

    def format_epilog(self, context: Any, formatter: Any) -> None:
        """The examples are already written."""

    def format_commands(self, context: Any, formatter: Any) -> None:
        """Write the commands of a group."""


class Command(_WithCommonOptions, TyperCommand):
    """A command of the client."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The parts of the usage line; typer puts required arguments in braces."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises an error that names every option that is missing."""
        if not ctx.resilient_parsing:
            given, _, order = self.make_parser(ctx).parse_args(list(args))
            missing = [
                one.opts[0]
                for one in self.get_params(ctx)
                if one.required
                and given.get(one.name) is None
                and not one.resolve_envvar_value(ctx)
            ]
            # An option such as --help comes first.
            if len(missing) > 1 and not any(one.is_eager and one.name == "help" for one in order):
                ctx.fail(f"Missing {', '.join(missing)}.")
        return super().parse_args(ctx, args)


class Group(_WithCommonOptions, TyperGroup):
    """A group of commands. Without a command it shows its help."""

    def format_commands(self, _context: Any, formatter: Any) -> None:
        """Write the commands with the first sentences of their help."""
        remote: list[tuple[str, str]] = []
        local: list[tuple[str, str]] = []
        for name, command in self.commands.items():
            if not command.hidden:
                rows = local if isinstance(command, LocalCommand | LocalGroup) else remote
                rows.append((name, (command.help or "").partition("\n\n")[0]))
        if not remote:
            remote, local = local, []
        for title, rows in (("Commands", remote), ("Commands that call no portal", local)):
            _write_section(formatter, title, rows)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


class LocalCommand(Command):
    """A command that calls no portal."""

    common = options.LOCAL


class LocalGroup(Group):
    """A group of commands that call no portal."""

    common = options.LOCAL


class Commands(typer.Typer):
    """Commands of the client, which accept the common options before and after the command."""

    def __init__(self, **settings: Any) -> None:
        # Plain text: tables of boxes cut long names of options.
        defaults = {"cls": Group, "rich_markup_mode": None, "add_completion": False}
        super().__init__(
            context_settings=HELP, pretty_exceptions_enable=False, **(defaults | settings)
        )

    def command(
        self, name: str | None = None, *, examples: Sequence[str] = (), **settings: Any
    ) -> Callable[[_Function], _Function]:
        """Add a command, with examples for its help."""
        return super().command(name, **({"cls": Command, "epilog": epilog(examples)} | settings))


def epilog(examples: Sequence[str]) -> str | None:
    """Examples as the end of a help text."""
    # click keeps the lines of a paragraph that begins with \b.
    return "\n  ".join(("\b\nExamples:", *examples)) if examples else None
