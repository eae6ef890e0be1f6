"""Which requests are retries of the same request (AIP-155)."""

import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from google.protobuf.message import Message

from portal_server.domain.calls import IdempotencyKey
from portal_server.domain.errors import Invalid, Rule, Violation

Metadata = Sequence[tuple[str, str | bytes]]

TRUE = frozenset({"true", "1"})
"""The spellings of true in a REST flag, in lowercase."""

AUTHORIZATION, IDEMPOTENCY_KEY, IF_MATCH = "authorization", "idempotency-key", "if-match"

# How an API reads the id of a request; None if there is none.
RequestId = Callable[[Message, Metadata], str | None]

_FIELD = "request_id"

MAX_REQUEST_ID = 255
_REQUEST_ID = re.compile(rf"[ -~]{{1,{MAX_REQUEST_ID}}}")


def values_of(metadata: Metadata, name: str) -> list[str]:
    """The values of a header, in order."""
    return [str(value) for key, value in metadata if key == name]


def of_field(message: Message, _metadata: Metadata) -> str | None:
    """The field `request_id`; "" means absent in proto3."""
    return getattr(message, _FIELD, "") or None


def of_header(_message: Message, metadata: Metadata) -> str | None:
    """The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

    Its form is a structured string, in quotes (RFC 9651, section 3.3.3); without
    them, as most clients send it, it is the same key.

    Raises:
        Invalid: it is given more than once.
    """
    values = values_of(metadata, IDEMPOTENCY_KEY)
    if not values:
        return None
    if len(values) > 1:
        raise Invalid(Violation(_FIELD, Rule.MALFORMED, "is given more than once"))
    (key,) = values
    return key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key


def validates_only(message: Message) -> bool:
    """Whether a request is validated and not executed (AIP-163)."""
    return getattr(message, "validate_only", False)


def identify(
    path: str, message: Message, metadata: Metadata, caller: str, request_id: RequestId
) -> IdempotencyKey | None:
    """The request of this caller to the method with this path, if it has an id.

    Raises:
        Invalid: the id is not valid.
    """
    given = request_id(message, metadata)
    if given is None:
        return None
    if not _REQUEST_ID.fullmatch(given):
        text = f"must be 1 to {MAX_REQUEST_ID} printable ASCII characters"
        raise Invalid(Violation(_FIELD, Rule.MALFORMED, text))
    payload = type(message)()
    payload.CopyFrom(message)
    if _FIELD in payload.DESCRIPTOR.fields_by_name:
        payload.ClearField(_FIELD)
    asked = [
        path.encode(),
        *(value.encode() for value in values_of(metadata, IF_MATCH)),
        payload.SerializeToString(deterministic=True),
    ]
    return IdempotencyKey(_hash((caller.encode(), given.encode())), _hash(asked), caller)


def _hash(parts: Iterable[bytes]) -> bytes:
    whole = sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8))
        whole.update(part)
    return whole.digest()
