"""What must be done so that a portal is as a document says.

Names need not be unique, so the first of a name in the document stands for the first of that name
in the portal (in the order of ids), the second for the second. What is there and not in the
document is left alone unless it is to be pruned.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from portal_cli.documents import (
    CLIENT_TYPE_FIELDS,
    PROVIDER_FIELDS,
    ClientTypeDocument,
    ProviderDocument,
)
from portal_client import ClientType, Portal, Provider

CREATE, CHANGE, DELETE, KEEP = "+", "~", "-", " "
_INDENT: Final = "    "
_OKTA: Final = "okta"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Wanted = TypeVar("Wanted", bound=_Named)
Found = TypeVar("Found", bound=_Named)


@dataclass(frozen=True, slots=True)
class Step:
    """One write.

    Attributes:
        sign: CREATE, CHANGE or DELETE.
        what: the resource, for people.
        provider: of a client type, its provider, for people; "" for a provider.
        run: does it.
        changes: what changes about it, a line each.
    """

    sign: str
    what: str
    provider: str
    run: Callable[[Portal], object]
    changes: Sequence[str] = ()


def lines(steps: Iterable[Step]) -> Iterator[tuple[str, str]]:
    """Steps as a diff: each line with the sign of its step, " " for a heading."""
    heading = ""
    for step in steps:
        indent = _INDENT if step.provider else ""
        if step.provider not in ("", heading):
            yield KEEP, f"{KEEP} {step.provider}"
        heading = step.provider or step.what
        yield step.sign, f"{step.sign} {indent}{step.what}"
        for change in step.changes:
            yield step.sign, f"{KEEP} {indent}{_INDENT}{change}"


@dataclass(slots=True)
class _Place:
    """A provider, for people; its id once it is there."""

    what: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class Planner:
    """Compares documents with a portal.

    Args:
        portal: the portal.
        prune: whether to delete what no document names.
    """

    portal: Portal
    prune: bool = False

    def plan(self, documents: Sequence[ProviderDocument]) -> list[Step]:
        """The steps for all providers."""
        pairs, others = _matched(documents, self.portal.list_providers())
        steps = [step for wanted, found in pairs for step in self.of_provider(wanted, found)]
        if self.prune:
            steps += (_delete_provider(found) for found in others)
        return steps

    def of_provider(self, wanted: ProviderDocument, found: Provider | None) -> list[Step]:
        """The steps for one provider and its client types."""
        if found is None:
            place = _Place(f"provider {wanted.name!r} ({wanted.type})")
            return [
                _create_provider(wanted, place),
                *(_create_client_type(place, new) for new in wanted.client_types),
            ]
        place = _Place(f"provider {wanted.name!r} ({found.id})", found.id)
        own = _change_provider(wanted, found, place)
        theirs = list(self._client_type_steps(wanted, place))
        # Okta asks more of client types: they must be ready before, or may change only after.
        return [*theirs, *own] if wanted.type == _OKTA else [*own, *theirs]

    def _client_type_steps(self, wanted: ProviderDocument, place: _Place) -> Iterator[Step]:
        there = self.portal.list_client_types(place.id)
        pairs, others = _matched(wanted.client_types, there)
        for document, found in pairs:
            if found is None:
                yield _create_client_type(place, document)
            else:
                yield from _change_client_type(document, found, place)
        if self.prune:
            for found in others:
                yield _delete_client_type(found, place)


def _create_provider(wanted: ProviderDocument, place: _Place) -> Step:
    def run(portal: Portal) -> None:
        place.id = portal.create_provider(wanted.message()).id

    return Step(CREATE, place.what, "", run)


def _create_client_type(place: _Place, wanted: ClientTypeDocument) -> Step:
    def run(portal: Portal) -> None:
        portal.create_client_type(place.id, wanted.message())

    return Step(CREATE, f"client type {wanted.name!r}", place.what, run)


def _change_provider(wanted: ProviderDocument, found: Provider, place: _Place) -> list[Step]:
    changed = _differences(wanted, ProviderDocument.of(found), PROVIDER_FIELDS)
    message = wanted.message()
    message.id, message.etag = found.id, found.etag

    def run(portal: Portal) -> None:
        portal.update_provider(message, fields=changed)

    return [Step(CHANGE, place.what, "", run, _lines(changed))] if changed else []


def _change_client_type(wanted: ClientTypeDocument, found: ClientType, place: _Place) -> list[Step]:
    changed = _differences(wanted, ClientTypeDocument.of(found), CLIENT_TYPE_FIELDS)
    message = wanted.message()
    message.provider_id, message.id, message.etag = found.provider_id, found.id, found.etag

    def run(portal: Portal) -> None:
        portal.update_client_type(message, fields=changed)

    what = f"client type {wanted.name!r} ({found.id})"
    return [Step(CHANGE, what, place.what, run, _lines(changed))] if changed else []


def _delete_provider(found: Provider) -> Step:
    def run(portal: Portal) -> None:
        portal.delete_provider(found.id, etag=found.etag)

    return Step(DELETE, f"provider {found.name!r} ({found.id}) with its client types", "", run)


def _delete_client_type(found: ClientType, place: _Place) -> Step:
    def run(portal: Portal) -> None:
        portal.delete_client_type(found.provider_id, found.id, etag=found.etag)

    return Step(DELETE, f"client type {found.name!r} ({found.id})", place.what, run)


def _lines(changed: dict[str, str]) -> list[str]:
    return [f"{name}: {change}" for name, change in changed.items()]


def _differences(wanted: Any, found: Any, fields: Iterable[str]) -> dict[str, str]:
    """The fields that differ, and how."""
    pairs = ((name, getattr(found, name), getattr(wanted, name)) for name in fields)
    return {name: f"{_text(old)} → {_text(new)}" for name, old, new in pairs if old != new}


def _text(value: Any) -> str:
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(value)}]"
    return repr(value)


def _matched(
    wanted: Sequence[Wanted], found: Iterable[Found]
) -> tuple[list[tuple[Wanted, Found | None]], list[Found]]:
    """Each that is wanted with the one that it stands for, and those that nothing stands for."""
    by_name: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        by_name[one.name].append(one)
    pairs = [(one, by_name[one.name].pop(0) if by_name[one.name] else None) for one in wanted]
    return pairs, [one for left in by_name.values() for one in left]
