"""The options of `create` and `update`: one for each field that a caller can set."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from portal_cli import completing, documents, fields
from portal_cli.fields import Field

Command = TypeVar("Command", bound=Callable[..., None])
Resource = TypeVar("Resource", bound=Message)


def for_create(resource: Descriptor) -> Callable[[Command], Command]:
    """Replace the `**given` of a command with an option for each field; some are required."""
    return _with_options([_option(field, field.required) for field in fields.writable(resource)])


def for_update(resource: Descriptor) -> Callable[[Command], Command]:
    """Replace the `**given` of a command with an option for each field; none is required."""
    return _with_options([_option(field, required=False) for field in fields.writable(resource)])


def message(kind: type[Resource], given: Mapping[str, Any]) -> tuple[Resource, list[str]]:
    """The resource that the options describe, and the names of the fields that they set.

    Raises:
        typer.BadParameter: an enum has no such value.
        CommandError: the file of a field cannot be read.
    """
    values: dict[str, Any] = {}
    for field in fields.writable(kind.DESCRIPTOR):
        option = given[_name(field)]
        if option is None:
            continue
        with _bad_parameter(f"--{_name(field).replace('_', '-')}"):
            values[field.name] = _value(field, option)
    return kind(**values), list(values)


def number(field: Field, word: str, hint: str) -> Any:
    """The number of an enum's word, for a field whose parameter a command declares itself.

    Raises:
        typer.BadParameter: the enum has no such word; `hint` is the name of the parameter.
    """
    with _bad_parameter(hint):
        return field.number(word)


@contextmanager
def _bad_parameter(hint: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None


def _with_options(options: list[inspect.Parameter]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for one in signature.parameters.values()
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        arguments = [one for one in own if one.default is inspect.Parameter.empty]
        others = [one for one in own if one.default is not inspect.Parameter.empty]
        # Typer makes the options from the signature.
        command.__signature__ = signature.replace(parameters=[*arguments, *options, *others])  # type: ignore[attr-defined]
        return command

    return decorate


def _option(field: Field, required: bool) -> inspect.Parameter:  # noqa: FBT001
    option = typer.Option(
        ... if required else None, help=_help(field), autocompletion=completing.words(field.numbers)
    )
    # A list is one option with commas, not a repeated option.
    kind = Path if field.from_file else str if field.repeated else field.type
    return inspect.Parameter(
        _name(field), inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind
    )


def _name(field: Field) -> str:
    return f"{field.name}_file" if field.from_file else field.name


def _help(field: Field) -> str:
    if field.from_file:
        return f"File with the {field.help[0].lower()}{field.help[1:]}; - is standard input."
    separated = " (comma-separated)" if field.repeated else ""
    words = f": {', '.join(field.numbers)}" if field.numbers else ""
    return f"{field.help}{separated}{words}."


def _value(field: Field, option: Any) -> Any:
    if field.from_file:
        # A secret is not an argument: other users can see those.
        return documents.read(option).strip()
    one = field.number if field.numbers else field.type
    if field.repeated:
        return [one(word.strip()) for word in option.split(",") if word.strip()]
    return one(option)
