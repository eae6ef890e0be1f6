"""Results: tables for people, JSON and YAML for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from portal_cli import documents, fields
from portal_cli.options import Output
from portal_client import ApiKey, Client, ClientType, Finding, Provider

Resource = Provider | ClientType | Client | ApiKey

_UNLIMITED: Final = 1 << 16
_MINUTE: Final = "%Y-%m-%d %H:%M"
_MAX_WORD: Final = 24
_PLURALS: Final = {Provider: "providers", ClientType: "client types", Client: "clients"}
# The columns that fit a terminal; `get`, JSON and YAML show every field.
_COLUMNS: Final = {
    Provider: ("id", "name", "type", "well_known_uri", "updated"),
    ClientType: ("id", "name", "response_types", "grant_types", "okta_app_type", "updated"),
    Client: ("id", "name", "client_type_id", "state", "client_id", "updated"),
}


def as_dict(resource: Message) -> dict[str, Any]:
    """A resource as plain data: all fields except secrets."""
    return {
        field.name: field.value(resource)
        for field in fields.of(resource.DESCRIPTOR)
        if not field.secret
    }


def printable(text: str) -> str:
    """The text as one line, with control characters and invisible characters escaped."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def write_one(resource: Resource, output: Output, **more: Any) -> None:
    """Write a resource, with more values."""
    write_values(as_dict(resource) | more, output)


def write_values(whole: Mapping[str, Any], output: Output) -> None:
    """Write values by name."""
    if output is Output.TABLE:
        table = Table(box=None, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in whole.items():
            table.add_row(name, _text(value))
        _print(table)
    else:
        print(encoded(dict(whole), output))


def write_many(kind: type[Resource], resources: Iterable[Resource], output: Output) -> None:
    """Write a list."""
    if output is not Output.TABLE:
        print(encoded([as_dict(resource) for resource in resources], output))
        return
    rows = [as_dict(one) | {"updated": _minute(one.update_time)} for one in resources]
    write_rows(rows, _COLUMNS[kind], output, what=_PLURALS[kind])


def write_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: Output, *, what: str
) -> None:
    """Write rows of values by name; a table has these columns. `what` are the rows, in plural."""
    if output is not Output.TABLE:
        print(encoded(list(map(dict, rows)), output))
        return
    if not rows and sys.stdout.isatty():
        report(f"no {what}")
        return
    table = Table(box=None)
    for name in columns:
        values = [_text(row[name]) for row in rows]
        # Wrap between words: a value that is broken cannot be copied.
        longest = max(len(word) for value in (name, *values) for word in value.split() or [""])
        table.add_column(
            name.upper().replace("_", " "), overflow="fold", min_width=min(longest, _MAX_WORD)
        )
    for row in rows:
        table.add_row(*(_text(row[name]) for name in columns))
    _print(table)


def report(text: str) -> None:
    """Write a line for people to standard error: what was done, or what there is not."""
    print(f"portal: {printable(text)}", file=sys.stderr)


def report_findings(findings: Iterable[Finding]) -> None:
    """Write findings to standard error."""
    for finding in findings:
        print(finding_text(finding), file=sys.stderr)


def finding_text(finding: Finding) -> str:
    """A finding in one line."""
    one = as_dict(finding)
    return printable(f"{one['severity']}: {one['field']}: {one['text']} ({one['reference']})")


def _print(table: Table) -> None:
    # A name can be any text: never markup. Don't wrap when stdout is not a terminal.
    width = None if sys.stdout.isatty() else _UNLIMITED
    console = Console(markup=False, highlight=False, emoji=False, width=width)
    with console.capture() as captured:
        console.print(table)
    # A long value would pad all other lines.
    for line in captured.get().splitlines():
        print(line.rstrip())


def encoded(value: Any, output: Output) -> str:
    """The value as JSON or YAML."""
    if output is Output.JSON:
        return json.dumps(value, indent=2, ensure_ascii=False)
    return documents.dump(value).rstrip("\n")


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return "; ".join(f"{printable(name)}: {_text(one)}" for name, one in value.items())
    return printable(str(value))


def _minute(time: Timestamp) -> str:
    return f"{time.ToDatetime():{_MINUTE}}"
