"""Durations on the command line: 90d, 12h, 30m."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str, option: str) -> timedelta:
    """The duration of a text. Raises: typer.BadParameter, naming the option."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        message = "must be a number and a unit (s, m, h, d, w), such as 90d or 12h"
        raise typer.BadParameter(message, param_hint=option)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def end_after(text: str, option: str) -> datetime:
    """The time after this duration. Raises: typer.BadParameter, naming the option."""
    try:
        return datetime.now(UTC) + duration(text, option)
    except OverflowError:
        raise typer.BadParameter("is too long", param_hint=option) from None
