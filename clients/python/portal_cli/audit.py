"""`portal audit …` and `portal watch`; the server adds the commands on its database."""

import json
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from portal_cli import options
from portal_cli.commands import Commands
from portal_cli.durations import duration
from portal_cli.output import as_dict, write_rows
from portal_client import AuditEvent, ResourceKind

app = Commands(help="List, export and verify the audit log, and remove old events.")

_COLUMNS = ("position", "time", "key_id", "method", "kind", "action", "provider_id", "uid")
_KINDS = {
    "providers": ResourceKind.RESOURCE_KIND_PROVIDER,
    "client-types": ResourceKind.RESOURCE_KIND_CLIENT_TYPE,
    "clients": ResourceKind.RESOURCE_KIND_CLIENT,
}

Filter = Annotated[
    str,
    typer.Option(
        "--filter", help="AIP-160 filter, such as kind = AUDIT_KIND_CLIENT AND key_id = 3fR0aQ2x."
    ),
]
Since = Annotated[
    str,
    typer.Option(help="Only events since this time: 2026-01-31T12:00:00Z, or 2h or 7d ago."),
]


@app.command(
    "list",
    examples=(
        "portal audit list",
        "portal audit list --since 7d --filter 'action = AUDIT_ACTION_DELETE'",
    ),
)
def list_(
    context: typer.Context,
    filter_: Filter = "",
    since: Since = "24h",
    limit: Annotated[int, typer.Option(help="Show at most this many events.", min=1)] = 50,
) -> None:
    """List the newest audit events, in their order."""
    start_time = time_of(since, "--since")
    common = options.of(context)
    with common.portal() as portal:
        found = deque(portal.list_audit_events(filter=filter_, start_time=start_time), limit)
    write_rows(list(map(_row, found)), _COLUMNS, common.output, what="audit events")


@app.command(examples=("portal audit export >audit.jsonl", "portal audit export --since 7d"))
def export(context: typer.Context, filter_: Filter = "", since: Since = "") -> None:
    """Write audit events as JSON, one on each line, in their order."""
    start_time = time_of(since, "--since") if since else None
    with options.of(context).portal() as portal:
        _write_lines(portal.list_audit_events(filter=filter_, start_time=start_time, page_size=200))


def watch(
    context: typer.Context,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help=f"Kinds of resources: {', '.join(_KINDS)}; default: all."),
    ] = None,
    provider: Annotated[int, typer.Option(help="ID of a provider; default: all.")] = 0,
    filter_: Annotated[
        str, typer.Option("--filter", help="AIP-160 filter, such as type = CHANGE_TYPE_DELETED.")
    ] = "",
    resume_token: Annotated[
        str, typer.Option(help="Continue after the change with this resume_token.")
    ] = "",
    count: Annotated[int, typer.Option(help="End after this many changes; 0: never.", min=0)] = 0,
) -> None:
    """Write each change of a resource as a line of JSON, from now on.

    A stream that ends is opened again: no change is missed or repeated.
    """
    unknown = [kind for kind in kinds or () if kind not in _KINDS]
    if unknown:
        text = f"unknown kind {unknown[0]!r}; allowed: {', '.join(_KINDS)}"
        raise typer.BadParameter(text, param_hint="KINDS")
    with options.of(context).portal() as portal:
        changes = portal.watch(
            kinds=[_KINDS[kind] for kind in kinds or ()],
            provider_id=provider,
            filter=filter_,
            resume_token=resume_token,
        )
        _write_lines(islice(changes, count or None))


def _write_lines(messages: Iterable[Message]) -> None:
    for message in messages:
        print(json.dumps(_plain(message), ensure_ascii=False), flush=True)


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return plain


def _row(event: AuditEvent) -> dict[str, Any]:
    return as_dict(event) | {
        "time": event.create_time.ToDatetime().isoformat(" ", "seconds"),
        "method": event.method.rpartition("/")[2],
    }


def time_of(text: str, option: str) -> datetime:
    """A time, in UTC if it has no offset, or a duration before now. Raises: typer.BadParameter."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - duration(text, option)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
