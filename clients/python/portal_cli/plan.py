"""The writes that make a portal match a document.

A resource of the document is the resource of the portal with the same uid, or else the one with the
same name. Names need not be unique: the first resource with a name in the document is the first one
with that name in the portal (by id), and so on. Resources that are not in the document stay unless
they are pruned.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from portal_cli import documents, fields
from portal_cli.documents import ProviderDocument
from portal_client import PROVIDER_TYPE_OKTA, ClientType, Portal, Provider

CREATE, CHANGE, DELETE, KEEP = "+", "~", "-", " "
_INDENT: Final = "    "

Resource = TypeVar("Resource", Provider, ClientType)


@dataclass(frozen=True, slots=True)
class Step:
    """One write.

    Attributes:
        sign: CREATE, CHANGE or DELETE.
        what: describes the resource.
        provider: describes the provider of a client type; "" for a provider.
        run: makes the request.
        changes: a line for each field that changes.
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
class _Parent:
    """The provider of client types: its description, and its id, which is 0 until it exists."""

    what: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class Planner:
    """Compares documents with a portal.

    Args:
        portal: the portal.
        prune: whether to delete resources that are not in the document.
    """

    portal: Portal
    prune: bool = False

    def plan(self, wanted: Sequence[ProviderDocument]) -> list[Step]:
        """The steps for all providers."""
        found = self.portal.list_providers()
        existing, others = match([document.provider for document in wanted], found)
        steps = [
            step
            for document, provider in zip(wanted, existing, strict=True)
            for step in self.of_provider(document, provider)
        ]
        if self.prune:
            steps += (_delete_provider(provider) for provider in others)
        return steps

    def of_provider(self, document: ProviderDocument, found: Provider | None) -> list[Step]:
        """The steps for one provider and its client types."""
        wanted = document.provider
        if found is None:
            parent = _Parent(f"provider {wanted.name!r} ({documents.plain(wanted)['type']})")
            return [
                _create_provider(wanted, parent),
                *(_create_client_type(new, parent) for new in document.client_types),
            ]
        parent = _Parent(f"provider {wanted.name!r} ({found.id})", found.id)
        own = _change_provider(wanted, found, parent)
        children = list(self._client_type_steps(document.client_types, parent))
        # A provider of type Okta requires okta_app_type of each client type: set that before the
        # provider becomes Okta, and clear it only after the provider has another type.
        okta = wanted.type == PROVIDER_TYPE_OKTA
        return [*children, *own] if okta else [*own, *children]

    def _client_type_steps(self, wanted: Sequence[ClientType], parent: _Parent) -> Iterator[Step]:
        existing, others = match(wanted, self.portal.list_client_types(parent.id))
        for client_type, found in zip(wanted, existing, strict=True):
            if found is None:
                yield _create_client_type(client_type, parent)
            else:
                yield from _change_client_type(client_type, found, parent)
        if self.prune:
            for found in others:
                yield _delete_client_type(found, parent)


def match(
    wanted: Sequence[Resource], existing: Iterable[Resource]
) -> tuple[list[Resource | None], list[Resource]]:
    """The existing resource for each wanted one, and the remaining existing resources.

    The same uid has priority over the same name.
    """
    left = {resource.uid: resource for resource in existing}
    found = [left.pop(resource.uid, None) for resource in wanted]
    by_name: dict[str, list[Resource]] = defaultdict(list)
    for resource in left.values():
        by_name[resource.name].append(resource)
    for index, resource in enumerate(wanted):
        if found[index] is None and by_name[resource.name]:
            found[index] = by_name[resource.name].pop(0)
    return found, [resource for same_name in by_name.values() for resource in same_name]


def _create_provider(wanted: Provider, parent: _Parent) -> Step:
    def run(portal: Portal) -> None:
        parent.id = portal.create_provider(wanted, uid=wanted.uid).id

    return Step(CREATE, parent.what, "", run)


def _create_client_type(wanted: ClientType, parent: _Parent) -> Step:
    def run(portal: Portal) -> None:
        portal.create_client_type(parent.id, wanted, uid=wanted.uid)

    return Step(CREATE, f"client type {wanted.name!r}", parent.what, run)


def _change_provider(wanted: Provider, found: Provider, parent: _Parent) -> list[Step]:
    changes = _changes(wanted, found)
    message = Provider()
    message.CopyFrom(wanted)
    message.id, message.etag = found.id, found.etag

    def run(portal: Portal) -> None:
        portal.update_provider(message, fields=changes)

    return [Step(CHANGE, parent.what, "", run, _lines(changes))] if changes else []


def _change_client_type(wanted: ClientType, found: ClientType, parent: _Parent) -> list[Step]:
    changes = _changes(wanted, found)
    message = ClientType()
    message.CopyFrom(wanted)
    message.provider_id, message.id, message.etag = found.provider_id, found.id, found.etag

    def run(portal: Portal) -> None:
        portal.update_client_type(message, fields=changes)

    what = f"client type {wanted.name!r} ({found.id})"
    return [Step(CHANGE, what, parent.what, run, _lines(changes))] if changes else []


def _delete_provider(found: Provider) -> Step:
    def run(portal: Portal) -> None:
        portal.delete_provider(found.id, etag=found.etag)

    return Step(DELETE, f"provider {found.name!r} ({found.id}) and its client types", "", run)


def _delete_client_type(found: ClientType, parent: _Parent) -> Step:
    def run(portal: Portal) -> None:
        portal.delete_client_type(found.provider_id, found.id, etag=found.etag)

    return Step(DELETE, f"client type {found.name!r} ({found.id})", parent.what, run)


def _lines(changes: dict[str, str]) -> list[str]:
    return [f"{name}: {change}" for name, change in changes.items()]


def _changes(wanted: Resource, found: Resource) -> dict[str, str]:
    """The fields that differ, each with its old and new value."""
    values = (
        (field.name, field.value(found), field.value(wanted))
        for field in fields.shared(wanted.DESCRIPTOR)
    )
    return {name: f"{_text(old)} → {_text(new)}" for name, old, new in values if old != new}


def _text(value: Any) -> str:
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(str, value))}]"
    return repr(value)
