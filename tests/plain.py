"""A catalog as a program in the same process would like it: results, not answers."""

from collections.abc import Collection, Sequence

from portal_server.catalog import Catalog, Change, Page, Whole
from portal_server.domain.model import (
    ClientType,
    ClientTypeDraft,
    Condition,
    Provider,
    ProviderDraft,
    Slice,
)
from portal_server.retries import AsIs, Retries
from portal_server.storage.store import Store


class PlainCatalog:
    """The providers and client types of one portal; see Catalog."""

    def __init__(self, store: Store) -> None:
        self._catalog = Catalog(store, Retries(store))

    def create_provider(self, draft: ProviderDraft) -> Provider:
        return self._catalog.create_provider(draft, AsIs())

    def get_provider(self, id_: int) -> Provider:
        return self._catalog.get_provider(id_)

    def get_provider_with_client_types(self, id_: int) -> Whole:
        return self._catalog.get_provider_with_client_types(id_)

    def list_providers(self, where: Sequence[Condition], part: Slice) -> Page[Provider]:
        return self._catalog.list_providers(where, part)

    def update_provider(
        self, id_: int, draft: ProviderDraft, fields: Collection[str], *etags: str
    ) -> Whole:
        change = Change(draft, fields, etags or None)
        return self._catalog.update_provider_with_client_types(id_, change, AsIs())

    def delete_provider(self, id_: int, *etags: str) -> None:
        self._catalog.delete_provider(id_, etags or None, AsIs())

    def create_client_type(self, provider_id: int, draft: ClientTypeDraft) -> ClientType:
        return self._catalog.create_client_type(provider_id, draft, AsIs())

    def get_client_type(self, provider_id: int, id_: int) -> ClientType:
        return self._catalog.get_client_type(provider_id, id_)

    def list_client_types(
        self, provider_id: int, where: Sequence[Condition], part: Slice
    ) -> Page[ClientType]:
        return self._catalog.list_client_types(provider_id, where, part)

    def update_client_type(
        self,
        provider_id: int,
        id_: int,
        draft: ClientTypeDraft,
        fields: Collection[str],
        *etags: str,
    ) -> ClientType:
        change = Change(draft, fields, etags or None)
        return self._catalog.update_client_type(provider_id, id_, change, AsIs())

    def delete_client_type(self, provider_id: int, id_: int, *etags: str) -> None:
        self._catalog.delete_client_type(provider_id, id_, etags or None, AsIs())
