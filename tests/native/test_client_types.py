"""ClientTypeService over a real channel."""

from conftest import Portal
from portal.oauth.v1 import provider_pb2


def test_create(portal: Portal) -> None:
    made = portal.providers.CreateProvider(
        provider_pb2.CreateProviderRequest(
            provider=provider_pb2.Provider(
                name="x", type=provider_pb2.PROVIDER_TYPE_OKTA, well_known_uri="https://x.test/"
            )
        )
    )

    assert made.id == 1
