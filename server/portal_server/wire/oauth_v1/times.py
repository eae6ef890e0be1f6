"""Times of requests."""

from datetime import UTC, datetime
from typing import Any

from portal_server.domain.errors import Invalid, Rule, Violation


def time_of(request: Any, name: str) -> datetime | None:
    """The time in a field, in UTC; None if it is not set. Raises: Invalid."""
    if not request.HasField(name):
        return None
    try:
        found: datetime = getattr(request, name).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        text = "must be a time from year 1 to 9999"
        raise Invalid(Violation(name, Rule.MALFORMED, text)) from None
    return found
