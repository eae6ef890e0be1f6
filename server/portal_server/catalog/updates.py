"""What the updates of all resources share: etags, and which fields are written."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from portal_server.domain.errors import Aborted, Reason

Draft = TypeVar("Draft")

Etags = Collection[str] | None
"""The stored resource must have one of these etags; None: it may have any."""


class Stored(Protocol):
    """A stored resource."""

    @property
    def etag(self) -> str:
        """The entity tag of what is stored."""


@dataclass(frozen=True, slots=True)
class Change(Generic[Draft]):
    """What an update writes: these fields of the draft, if the etag is one of `etags`."""

    draft: Draft
    fields: Collection[str]
    etags: Etags = None


def require_etag(stored: Stored, etags: Etags) -> None:
    """Accept a resource that has one of these etags.

    Raises:
        Aborted: it has another.
    """
    if etags is not None and stored.etag not in etags:
        raise Aborted(Reason.ETAG_MISMATCH, "the etag does not match the current one")


def merged(stored: Stored, change: Change[Draft]) -> Draft:
    """The stored resource as a draft, with the fields that the change writes."""
    draft: Any = change.draft
    return type(change.draft)(
        **{
            name: getattr(draft if name in change.fields else stored, name)
            for name in draft.__dataclass_fields__
        }
    )


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def now_after(time: datetime) -> datetime:
    """The current time, but later than this: no two writes of a resource have the same time."""
    return max(now(), time + timedelta(microseconds=1))
