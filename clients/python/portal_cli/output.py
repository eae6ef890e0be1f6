"""Results: tables for people, JSON and YAML for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from portal_cli import documents
from portal_cli.documents import CLIENT_TYPE_FIELDS, PROVIDER_FIELDS
from portal_cli.options import Output
from portal_client import ClientType, Provider

Resource = Provider | ClientType

_NO_EDGE: Final = 1 << 16
_MINUTE: Final = "%Y-%m-%d %H:%M"
# What a table has no room for, `get` shows and programs get.
_COLUMNS: Final = {
    Provider: ("id", "name", "type", "well_known_uri", "updated"),
    ClientType: ("id", "name", "response_types", "grant_types", "okta_app_type", "updated"),
}


def as_dict(resource: Resource) -> dict[str, Any]:
    """All of a resource that a program may want, in words."""
    if isinstance(resource, Provider):
        document: Any = documents.ProviderDocument.of(resource)
        fields: Sequence[str] = PROVIDER_FIELDS
        more = {"registration_access_token_set": resource.registration_access_token_set}
        ids: dict[str, Any] = {"id": resource.id, "uid": resource.uid}
    else:
        document = documents.ClientTypeDocument.of(resource)
        fields, more = CLIENT_TYPE_FIELDS, {}
        ids = {"id": resource.id, "uid": resource.uid, "provider_id": resource.provider_id}
    return {
        **ids,
        **{name: getattr(document, name) for name in fields},
        **more,
        "create_time": resource.create_time.ToJsonString(),
        "update_time": resource.update_time.ToJsonString(),
        "etag": resource.etag,
    }


def printable(text: str) -> str:
    """The text with what could command a terminal escaped, as a line in which nothing is hidden."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def write_one(resource: Resource, output: Output) -> None:
    """Write a resource."""
    whole = as_dict(resource)
    if output is Output.TABLE:
        table = Table(box=None, show_header=False)
        table.add_column(style="bold")
        for name, value in whole.items():
            table.add_row(name, _text(value))
        _console().print(table)
    else:
        print(_encoded(whole, output))


def write_many(kind: type[Resource], resources: Iterable[Resource], output: Output) -> None:
    """Write a list."""
    if output is not Output.TABLE:
        print(_encoded([as_dict(resource) for resource in resources], output))
        return
    table = Table(box=None)
    for name in _COLUMNS[kind]:
        table.add_column(name.upper().replace("_", " "), overflow="fold")
    for resource in resources:
        row = as_dict(resource) | {"updated": _minute(resource.update_time)}
        table.add_row(*(_text(row[name]) for name in _COLUMNS[kind]))
    _console().print(table)


def _console() -> Console:
    # Names are anybody's text: never markup, never links. What is no terminal has no edge.
    width = None if sys.stdout.isatty() else _NO_EDGE
    return Console(markup=False, highlight=False, emoji=False, width=width)


def _encoded(value: Any, output: Output) -> str:
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
            return ", ".join(map(printable, value))
    return printable(str(value))


def _minute(time: Timestamp) -> str:
    return f"{time.ToDatetime():{_MINUTE}}"
