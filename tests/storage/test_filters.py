"""A list with a new combination of conditions costs no compilation."""

import itertools
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from portal_server.domain.lists import Comparison, Condition, PageRange
from portal_server.domain.provider import ProviderDraft, ProviderType
from portal_server.storage import transaction
from portal_server.storage.sql import filters
from portal_server.storage.sql.statements import Statement
from portal_server.storage.store import Store
from tests.support.catalog import CALL, Catalog

PROVIDER = ProviderDraft(name="p", type=ProviderType.OTHER, well_known_uri="https://idp.test/x")
KINDS = [
    Condition("name", Comparison.HAS, "n"),
    Condition("name", Comparison.EQUALS, "n"),
    Condition("name", Comparison.DIFFERS, "m"),
    Condition("response_types", Comparison.HAS, "code"),
    Condition("okta_app_type", Comparison.EQUALS, None),
    Condition("okta_app_type", Comparison.EQUALS, "web"),
]


def test_each_condition_is_compiled_once_whatever_it_is_combined_with(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_compiled", {})
    compiled = 0

    class Counted(Statement):
        def __init__(self, *arguments: object) -> None:
            nonlocal compiled
            compiled += 1
            super().__init__(*arguments)  # type: ignore[arg-type]

    catalog = Catalog(Store(engine))
    monkeypatch.setattr(filters, "Statement", Counted)
    provider_id = catalog.providers.create(CALL, PROVIDER).id
    for shape in itertools.permutations(KINDS, 3):
        assert catalog.client_types.list(CALL, provider_id, shape, PageRange(limit=5)).items == []

    assert compiled == len(KINDS)


def test_conditions_of_one_kind_keep_their_own_values(catalog: Catalog) -> None:
    for name in ("ab", "bc", "ca", "abc"):
        catalog.providers.create(CALL, replace(PROVIDER, name=name))
    has = [Condition("name", Comparison.HAS, letter) for letter in "abc"]

    def names(*where: Condition) -> list[str]:
        return [
            found.name for found in catalog.providers.list(CALL, where, PageRange(limit=9)).items
        ]

    assert names(*has) == ["abc"]
    assert names(*has[:2]) == ["ab", "abc"]
    assert names(*has, Condition("name", Comparison.DIFFERS, "abc")) == []
    assert names(has[2], Condition("type", Comparison.EQUALS, "other")) == ["bc", "ca", "abc"]
