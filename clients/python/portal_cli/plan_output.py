"""A plan for people, as a diff, and for programs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from portal_cli.output import as_dict, finding_text
from portal_cli.plan import CHANGE, CREATE, DELETE, KEEP, Change, Parent, Step
from portal_client import Provider

ACTIONS: Final = {CREATE: "create", CHANGE: "change", DELETE: "delete"}
_INDENT: Final = "    "
_MAX_TEXT: Final = 200


def lines(steps: Iterable[Step]) -> Iterator[tuple[str, str]]:
    """Steps as a diff: each line with the sign of its step, " " for a heading."""
    heading = ""
    for step in steps:
        parent = step.parent.what if step.parent else ""
        indent = _INDENT if parent else ""
        if parent not in ("", heading):
            yield KEEP, f"{KEEP} {parent}"
        heading = parent or step.what
        yield step.sign, f"{step.sign} {indent}{step.what}"
        for name, (old, new) in step.own.values.items():
            value = _text(new) if step.sign == CREATE else f"{_text(old)} → {_text(new)}"
            yield step.sign, f"{KEEP} {indent}{_INDENT}{name}: {value}"
        for finding in step.own.findings:
            yield KEEP, f"{KEEP} {indent}{_INDENT}{finding_text(finding)}"
        for other in step.others:
            yield other.sign, f"{other.sign} {_INDENT}{other.what}"


def count(steps: Iterable[Step]) -> Counter[str]:
    """How many resources the steps create, change and delete, by sign."""
    return Counter(change.sign for step in steps for change in step.changes)


def as_data(steps: Sequence[Step]) -> dict[str, Any]:
    """The steps for programs, in their order."""
    counted = count(steps)
    return {
        "summary": {action: counted[sign] for sign, action in ACTIONS.items()},
        "changes": [_data(change, step) for step in steps for change in step.changes],
    }


def _data(change: Change, step: Step) -> dict[str, Any]:
    parent = step.parent
    if parent is None and change is not step.own:  # a client type of a provider that is deleted
        assert isinstance(step.own.resource, Provider)  # noqa: S101
        parent = Parent(step.what, step.own.resource, step.own.id)
    place = change.place
    line, column = place.position if place else (None, None)
    return {
        "action": ACTIONS[change.sign],
        "kind": "client_type" if parent else "provider",
        "name": change.resource.name,
        "id": change.id or None,
        "uid": change.resource.uid or None,
        "provider": {"name": parent.provider.name, "id": parent.id or None} if parent else None,
        "fields": {name: {"old": old, "new": new} for name, (old, new) in change.values.items()},
        "findings": [as_dict(finding) for finding in change.findings],
        "file": place.file.name if place else None,
        "line": line,
        "column": column,
    }


def _text(value: Any) -> str:
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(str, value))}]"
    text = repr(value)
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[:_MAX_TEXT]}… ({len(value)} characters)"
