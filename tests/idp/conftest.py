"""What tests of calls to providers share: a provider, and how it is accessed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from portal_server.domain.provider import Provider, ProviderType
from portal_server.idp.access import Access
from portal_server.idp.registrar import Registrar
from tests.support.providers.scripted import Scripted

_numbers = count(1)


def access_to(well_known_uri: str, *, token: str = "", secret: str = "", **more: Any) -> Access:
    number = next(_numbers)
    now = datetime.now(UTC)
    provider = Provider(
        id=number,
        uid=f"provider-{number}",
        create_time=now,
        update_time=now,
        name="provider",
        type=more.pop("type", ProviderType.OTHER),
        well_known_uri=well_known_uri,
        tls_insecure_skip_verify=more.pop("tls_insecure_skip_verify", False),
        registration_access_token=token,
        credential_client_secret=secret,
    )
    return Access(
        provider=replace(provider, **more),
        registration_access_token=token,
        credential_client_secret=secret,
    )


@pytest.fixture
def registrar() -> Iterator[Registrar]:
    registrar = Registrar(allow_private=True)
    yield registrar
    registrar.close()


@pytest.fixture
def hasty() -> Registrar:
    """A registrar that gives up after a second."""
    return Registrar(allow_private=True, total_s=1.0)


@pytest.fixture
def provider() -> Iterator[Scripted]:
    with Scripted() as provider:
        provider.discovers()
        yield provider
