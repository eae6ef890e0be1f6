"""The writes that make a portal match a document.

A resource of the document is the resource of the portal with the same uid, or else the one with the
same name. Names need not be unique: the first resource with a name in the document is the first one
with that name in the portal (by id), and so on. Resources that are not in the document stay unless
they are pruned.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from portal_cli import documents, fields
from portal_cli.documents import ProviderDocument
from portal_cli.places import Place
from portal_client import PROVIDER_TYPE_OKTA, ClientType, Finding, Portal, Provider

CREATE, CHANGE, DELETE, KEEP = "+", "~", "-", " "

Resource = TypeVar("Resource", Provider, ClientType)
Values = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one resource.

    Attributes:
        sign: CREATE, CHANGE or DELETE.
        resource: as it will be, or as it was if it is deleted.
        what: describes the resource.
        id: its id; 0 for a new one.
        values: the old and the new value of each field that changes, or that a new one has.
        place: where it is in a file.
        findings: what the server finds about a client type, once it has checked the change.
    """

    sign: str
    resource: Provider | ClientType
    what: str
    id: int = 0
    values: Values = field(default_factory=dict)
    place: Place | None = None
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Parent:
    """The provider of client types, as it will be; its id is 0 until it exists."""

    what: str
    provider: Provider
    id: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One write.

    Attributes:
        own: what happens to the resource that is written.
        parent: the provider of a client type; None for a provider.
        write: makes the request, or has the server only validate it.
        others: what else is deleted.
        kept: client types that do not change and must be valid afterwards; never written.
    """

    own: Change
    parent: Parent | None
    write: Callable[[Portal, bool], Provider | ClientType | None]
    others: Sequence[Change] = ()
    kept: "Sequence[Step]" = ()

    @property
    def sign(self) -> str:
        """CREATE, CHANGE or DELETE."""
        return self.own.sign

    @property
    def what(self) -> str:
        """Describes the resource."""
        return self.own.what

    @property
    def title(self) -> str:
        """Describes the resource, with its provider."""
        return f"{self.what} of {self.parent.what}" if self.parent else self.what

    @property
    def changes(self) -> Sequence[Change]:
        """What happens to each resource."""
        return (self.own, *self.others)

    def run(self, portal: Portal) -> None:
        """Make the request. Raises: PortalError."""
        self.write(portal, False)  # noqa: FBT003

    def validate(self, portal: Portal) -> None:
        """Have the server make every check of the request and change nothing; keep its findings.

        Raises: PortalError.
        """
        planned = self.write(portal, True)  # noqa: FBT003
        if isinstance(planned, ClientType):
            self.own.findings[:] = planned.findings


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
            steps += (
                _delete_provider(provider, list(self.portal.list_client_types(provider.id)))
                for provider in others
            )
        return steps

    def of_provider(self, document: ProviderDocument, found: Provider | None) -> list[Step]:
        """The steps for one provider and its client types."""
        wanted, place = document.provider, document.place
        places = [
            place.of("client_types", index) if place else None
            for index in range(len(document.client_types))
        ]
        if found is None:
            what = f"provider {wanted.name!r} ({documents.plain(wanted)['type']})"
            parent = Parent(what, wanted)
            return [
                _create_provider(parent, place),
                *map(
                    lambda new, where: _create_client_type(new, parent, where),
                    document.client_types,
                    places,
                ),
            ]
        parent = Parent(f"provider {wanted.name!r} ({found.id})", wanted, found.id)
        existing, others = match(document.client_types, self.portal.list_client_types(found.id))
        children: list[Step] = []
        kept = [] if self.prune else [_keep_client_type(one, parent, None) for one in others]
        for client_type, its, where in zip(document.client_types, existing, places, strict=True):
            if its is None:
                children.append(_create_client_type(client_type, parent, where))
            elif changes := _changes(client_type, its):
                children.append(_change_client_type(client_type, its, parent, changes, where))
            else:
                kept.append(_keep_client_type(its, parent, where))
        if self.prune:
            children += (_delete_client_type(one, parent) for one in others)
        own = _change_provider(found, parent, kept, place)
        # A provider of type Okta requires okta_app_type of each client type: set that before the
        # provider becomes Okta, and clear it only after the provider has another type.
        okta = wanted.type == PROVIDER_TYPE_OKTA
        return [*children, *own] if okta else [*own, *children]


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


def _create_provider(parent: Parent, place: Place | None) -> Step:
    wanted = parent.provider

    def write(portal: Portal, validate_only: bool) -> Provider:  # noqa: FBT001
        created = portal.create_provider(wanted, uid=wanted.uid, validate_only=validate_only)
        parent.id = created.id
        return created

    return Step(Change(CREATE, wanted, parent.what, 0, _new(wanted), place), None, write)


def _create_client_type(wanted: ClientType, parent: Parent, place: Place | None) -> Step:
    def write(portal: Portal, validate_only: bool) -> ClientType:  # noqa: FBT001
        return portal.create_client_type(
            parent.id, wanted, uid=wanted.uid, **_validation(parent, validate_only)
        )

    what = f"client type {wanted.name!r}"
    return Step(Change(CREATE, wanted, what, 0, _new(wanted), place), parent, write)


def _change_provider(
    found: Provider, parent: Parent, kept: Sequence[Step], place: Place | None
) -> list[Step]:
    wanted = parent.provider
    changes = _changes(wanted, found)
    message = Provider()
    message.CopyFrom(wanted)
    message.id, message.etag = found.id, found.etag

    def write(portal: Portal, validate_only: bool) -> Provider:  # noqa: FBT001
        return portal.update_provider(message, fields=changes, validate_only=validate_only)

    if not changes:
        return []
    own = Change(CHANGE, wanted, parent.what, found.id, changes, place)
    return [Step(own, None, write, kept=kept if wanted.type != found.type else ())]


def _change_client_type(
    wanted: ClientType, found: ClientType, parent: Parent, changes: Values, place: Place | None
) -> Step:
    message = ClientType()
    message.CopyFrom(wanted)
    message.provider_id, message.id, message.etag = found.provider_id, found.id, found.etag

    def write(portal: Portal, validate_only: bool) -> ClientType:  # noqa: FBT001
        return portal.update_client_type(
            message, fields=changes, **_validation(parent, validate_only)
        )

    what = f"client type {wanted.name!r} ({found.id})"
    return Step(Change(CHANGE, wanted, what, found.id, changes, place), parent, write)


def _keep_client_type(found: ClientType, parent: Parent, place: Place | None) -> Step:
    def write(portal: Portal, validate_only: bool) -> ClientType:  # noqa: FBT001
        return portal.update_client_type(
            found, fields=["name"], **_validation(parent, validate_only)
        )

    what = f"client type {found.name!r} ({found.id})"
    return Step(Change(KEEP, found, what, found.id, place=place), parent, write)


def _delete_provider(found: Provider, client_types: Sequence[ClientType]) -> Step:
    def write(portal: Portal, validate_only: bool) -> None:  # noqa: FBT001
        portal.delete_provider(found.id, etag=found.etag, validate_only=validate_only)

    own = Change(DELETE, found, f"provider {found.name!r} ({found.id})", found.id)
    return Step(own, None, write, [_deleted(one) for one in client_types])


def _delete_client_type(found: ClientType, parent: Parent) -> Step:
    def write(portal: Portal, validate_only: bool) -> None:  # noqa: FBT001
        portal.delete_client_type(
            found.provider_id, found.id, etag=found.etag, validate_only=validate_only
        )

    return Step(_deleted(found), parent, write)


def _deleted(found: ClientType) -> Change:
    return Change(DELETE, found, f"client type {found.name!r} ({found.id})", found.id)


def _validation(parent: Parent, validate_only: bool) -> dict[str, Any]:  # noqa: FBT001
    """The provider may not exist yet, or not have its new type."""
    if not validate_only:
        return {}
    return {"validate_only": True, "planned_provider_type": parent.provider.type}


def _new(wanted: Resource) -> Values:
    """The fields of a new resource, each with its value."""
    plain = documents.plain(wanted)
    return {name: (None, value) for name, value in plain.items() if name != "uid" or value}


def _changes(wanted: Resource, found: Resource) -> Values:
    """The fields that differ, each with its old and new value."""
    values = (
        (one.name, one.value(found), one.value(wanted)) for one in fields.shared(wanted.DESCRIPTOR)
    )
    return {name: (old, new) for name, old, new in values if old != new}
