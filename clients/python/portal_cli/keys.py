"""`portal keys …`."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from portal_cli import completing, field_options, fields, key_places, options, references
from portal_cli.commands import Commands
from portal_cli.durations import duration, end_after
from portal_cli.errors import CommandError
from portal_cli.key_places import Place
from portal_cli.options import Etag, Output, Yes, confirm
from portal_cli.output import as_dict, write_one, write_rows, write_values
from portal_client import ApiKey, PortalError

app = Commands(
    help="Create, get, list, update, rotate and revoke API keys.\n\nAt a portal if one is given"
    " (--target, --context or their variables, or a current context), otherwise in the database of"
    " PORTAL_DATABASE_URL."
)


_ROLE: Final = fields.named(ApiKey.DESCRIPTOR, "role")
_ADMIN: Final = "admin"
_ROLE_OPTION: Final = typer.Option(
    help=f"What the key may do: {', '.join(_ROLE.numbers)}.",
    autocompletion=completing.words(_ROLE.numbers),
)
_NEVER: Final = "never"
_NOTE: Final = "Who uses the key, and what for."
_PROVIDERS: Final = "IDs of the only providers that the key may use (comma-separated)"
_RATE: Final = "Requests a second that the key may send"
_BURST: Final = "Requests that the key may send at once"
_COLUMNS: Final = (
    "id",
    "role",
    "providers",
    "created",
    "expires",
    "last_used",
    "revoked",
    "note",
)


def _ids(context: typer.Context) -> list[tuple[str, str]]:
    """Completes the ID of a key that is not revoked."""
    try:
        with key_places.opened(context) as place:
            found = place.api_keys.list_api_keys()
            return [(key.id, key.note) for key in found if not key.HasField("revoke_time")]
    except (CommandError, PortalError, OSError):
        return []


KeyId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="ID of the key, from `portal keys list`.", autocompletion=_ids
    ),
]


@app.command(
    examples=(
        "portal keys create --role viewer --note dashboard",
        "portal keys create --role registrar --providers 1,4 --expires 90d",
        "PORTAL_DATABASE_URL=postgresql://portal@db/portal portal keys create",
    )
)
def create(
    context: typer.Context,
    role: Annotated[str, _ROLE_OPTION] = _ADMIN,
    note: Annotated[str, typer.Option(help=_NOTE)] = "",
    providers: Annotated[str, typer.Option(help=f"{_PROVIDERS}; default: all.")] = "",
    expires: Annotated[
        str, typer.Option(help="When the key ends: after 90d, 12h or 30m; default: never.")
    ] = "",
    requests_per_second: Annotated[
        int, typer.Option(help=f"{_RATE}; default: PORTAL_KEY_REQUESTS_PER_SECOND.", min=0)
    ] = 0,
    burst: Annotated[
        int, typer.Option(help=f"{_BURST}; default: as many as in a second.", min=0)
    ] = 0,
) -> None:
    """Create an API key and print it. It is not stored and cannot be shown again."""
    message = ApiKey(
        role=_number(role),
        note=note,
        provider_ids=_provider_ids(providers),
        expire_time=_end(expires),
        requests_per_second=requests_per_second,
        burst=burst,
    )
    with key_places.opened(context) as place:
        made = place.api_keys.create_api_key(message)
        _write_secret(context, place, "created", made.api_key, made.key)


@app.command(examples=("portal keys get 3fR0aQ2x -o json",))
def get(context: typer.Context, key_id: KeyId) -> None:
    """Show an API key, without its secret."""
    with key_places.opened(context) as place:
        write_one(place.api_keys.get_api_key(key_id), options.given(context).output)


@app.command("list", examples=("portal keys list", "portal keys list -o json"))
def list_(context: typer.Context) -> None:
    """List the API keys by ID; a key is `oap_<ID>_<secret>`."""
    with key_places.opened(context) as place:
        found = list(place.api_keys.list_api_keys())
    output = options.given(context).output
    rows = map(_row if output is Output.TABLE else as_dict, found)
    write_rows(list(rows), _COLUMNS, output, what="API keys")


@app.command(
    examples=(
        "portal keys update 3fR0aQ2x --role editor --providers ''",
        "portal keys update 3fR0aQ2x --expires never",
    )
)
def update(
    context: typer.Context,
    key_id: KeyId,
    role: Annotated[str | None, _ROLE_OPTION] = None,
    note: Annotated[str | None, typer.Option(help=_NOTE)] = None,
    providers: Annotated[str | None, typer.Option(help=f"{_PROVIDERS}; '' for all.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="When the key ends: after 90d, 12h or 30m; or never.")
    ] = None,
    requests_per_second: Annotated[
        int | None, typer.Option(help=f"{_RATE}; 0 for the default.", min=0)
    ] = None,
    burst: Annotated[int | None, typer.Option(help=f"{_BURST}; 0 for the default.", min=0)] = None,
    etag: Etag = "",
    yes: Yes = False,
) -> None:
    """Change the given fields of an API key. It takes a second: then every server knows it.

    Over the API, asks before the last valid admin key gets another role.
    """
    given = {
        "role": None if role is None else _number(role),
        "note": note,
        "provider_ids": None if providers is None else _provider_ids(providers),
        "expire_time": expires,
        "requests_per_second": requests_per_second,
        "burst": burst,
    }
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    options.require_change(list(values))
    names = list(values)
    if expires is not None:
        values["expire_time"] = None if expires == _NEVER else _end(expires)
    with key_places.opened(context) as place:
        if role not in (None, _ADMIN):
            _confirm_if_last_admin(place, key_id, f"Make it a key with the role {role}?", yes=yes)
        message = ApiKey(id=key_id, etag=etag, **values)
        changed = place.api_keys.update_api_key(message, fields=names)
        write_one(changed, options.given(context).output)


@app.command(
    examples=(
        "portal keys rotate 3fR0aQ2x --overlap 7d",
        "portal keys rotate 3fR0aQ2x --overlap 7d --expires 90d",
    )
)
def rotate(
    context: typer.Context,
    key_id: KeyId,
    overlap: Annotated[
        str, typer.Option(help="How long the current secret stays valid: 7d, 12h, 30m.")
    ] = "0s",
    expires: Annotated[
        str, typer.Option(help="When the key ends: after 90d; default: it stays the same.")
    ] = "",
    etag: Etag = "",
) -> None:
    """Give an API key a new secret and print the new key. It cannot be shown again."""
    time = end_after(expires, "--expires") if expires else None
    with key_places.opened(context) as place:
        made = place.api_keys.rotate_api_key(
            key_id, overlap=duration(overlap, "--overlap"), expire_time=time, etag=etag
        )
        _write_secret(context, place, "rotated", made.api_key, made.key)


@app.command(examples=("portal keys revoke 3fR0aQ2x",))
def revoke(context: typer.Context, key_id: KeyId, etag: Etag = "", yes: Yes = False) -> None:
    """Revoke an API key for good: when this ends, calls with it are rejected.

    Its previous secrets end too. Over the API, asks before the last valid admin key is revoked.
    """
    with key_places.opened(context) as place:
        _confirm_if_last_admin(place, key_id, "Revoke it?", yes=yes)
        place.api_keys.revoke_api_key(key_id, etag=etag)
        _note(f"revoked the key {key_id} {place.name}")


def _confirm_if_last_admin(place: Place, key_id: str, question: str, *, yes: bool) -> None:
    """Ask before no admin key is left where only an admin key can create another."""
    if not place.needs_admin_key:
        return
    admins = {key.id for key in place.api_keys.list_api_keys() if _is_valid_admin(key)}
    if admins == {key_id}:
        left = "without one, only `portal keys create` on the host of the server creates another"
        confirm(f"{key_id} is the last valid admin key {place.name}; {left}. {question}", yes=yes)


def _is_valid_admin(key: ApiKey) -> bool:
    ends = key.HasField("revoke_time") or (
        key.HasField("expire_time") and key.expire_time.ToDatetime(UTC) <= datetime.now(UTC)
    )
    return key.role == _number(_ADMIN) and not ends


def _write_secret(context: typer.Context, place: Place, done: str, key: ApiKey, text: str) -> None:
    if not text:
        lost = f"{done} the key {key.id} {place.name}, but the response with it was lost"
        raise CommandError(f"{lost}: run `portal keys rotate {key.id}`")
    output = options.given(context).output
    if output is Output.TABLE:
        typer.echo(text)
    else:
        write_values({"key": text} | as_dict(key), output)
    _note(f"{done} the {as_dict(key)['role']} key {key.id} {place.name}")


def _note(text: str) -> None:
    print(f"portal: {text}", file=sys.stderr)


def _row(key: ApiKey) -> dict[str, Any]:
    values = as_dict(key)
    return {
        "id": key.id,
        "role": values["role"],
        "providers": ",".join(map(str, key.provider_ids)) or "all",
        "created": _minute(key.create_time),
        "expires": _minute(key.expire_time) if key.HasField("expire_time") else "-",
        "last_used": _minute(key.last_use_time) if key.HasField("last_use_time") else "-",
        "revoked": _minute(key.revoke_time) if key.HasField("revoke_time") else "-",
        "note": key.note,
    }


def _minute(time: Timestamp) -> str:
    return f"{time.ToDatetime(UTC):%Y-%m-%d %H:%M}"


def _number(role: str) -> Any:
    return field_options.number(_ROLE, role, "--role")


def _provider_ids(text: str) -> Sequence[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and 0 < int(part) <= references.MAX_ID for part in parts):
        raise typer.BadParameter("must be IDs separated by commas", param_hint="--providers")
    return list(map(int, parts))


def _end(expires: str) -> Timestamp | None:
    if not expires:
        return None
    found = Timestamp()
    found.FromDatetime(end_after(expires, "--expires"))
    return found
