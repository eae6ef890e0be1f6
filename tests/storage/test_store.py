"""What a store promises, on each kind of database."""

import pytest
from portal_server.catalog import Catalog
from portal_server.domain.errors import NotFound
from portal_server.domain.model import (
    ClientTypeDraft,
    GrantType,
    ProviderDraft,
    ProviderType,
    ResponseType,
    Slice,
)

PROVIDER = ProviderDraft(name="p", type=ProviderType.KEYCLOAK, well_known_uri="https://idp.test/x")
CLIENT_TYPE = ClientTypeDraft(
    name="c", response_types=(ResponseType.CODE,), grant_types=(GrantType.PKCE,)
)


def test_an_id_is_never_used_again_even_after_the_newest_is_deleted(catalog: Catalog) -> None:
    provider = catalog.create_provider(PROVIDER)
    first = catalog.create_client_type(provider.id, CLIENT_TYPE)
    catalog.delete_client_type(provider.id, first.id)
    second = catalog.create_client_type(provider.id, CLIENT_TYPE)
    catalog.delete_provider(provider.id)

    assert second.id > first.id
    assert catalog.create_provider(PROVIDER).id > provider.id


def test_what_is_created_is_what_is_read(catalog: Catalog) -> None:
    provider = catalog.create_provider(PROVIDER)
    created = catalog.create_client_type(provider.id, CLIENT_TYPE)

    assert catalog.get_provider(provider.id) == provider
    assert catalog.get_client_type(provider.id, created.id) == created


def test_a_provider_takes_its_client_types_with_it(catalog: Catalog) -> None:
    provider = catalog.create_provider(PROVIDER)
    created = catalog.create_client_type(provider.id, CLIENT_TYPE)
    catalog.delete_provider(provider.id)

    with pytest.raises(NotFound, match="provider"):
        catalog.get_client_type(provider.id, created.id)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63 - 1])
def test_a_number_that_no_id_can_have_is_not_found(catalog: Catalog, number: int) -> None:
    provider = catalog.create_provider(PROVIDER)

    with pytest.raises(NotFound):
        catalog.get_provider(number)
    with pytest.raises(NotFound):
        catalog.delete_provider(number)
    with pytest.raises(NotFound):
        catalog.get_client_type(provider.id, number)
    with pytest.raises(NotFound):
        catalog.create_client_type(number, CLIENT_TYPE)
    assert catalog.list_providers((), Slice(limit=5, after=number)).items in ([provider], [])
