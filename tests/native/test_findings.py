"""The findings about a client type, in the responses that create and update it."""

from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1 import finding_pb2, provider_pb2
from portal.rest.v1 import portal_rest_pb2 as rest
from tests.conftest import Portal

# The client type of the first example of the portal.
SEED: dict[str, Any] = {
    "name": "seed",
    "response_types": [pb.RESPONSE_TYPE_CODE, pb.RESPONSE_TYPE_TOKEN],
    "grant_types": [
        pb.GRANT_TYPE_AUTHORIZATION_CODE,
        pb.GRANT_TYPE_REFRESH_TOKEN,
        pb.GRANT_TYPE_PASSWORD,
    ],
    "token_endpoint_auth_method": pb.TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_BASIC,
}
OF_SEED = [
    finding_pb2.Finding(
        severity=finding_pb2.FINDING_SEVERITY_WARNING,
        field="response_types",
        text="token is not sent, because the client type does not grant implicit."
        " Keycloak would turn on the implicit flow.",
        reference="RFC 7591, section 2.1",
    ),
    finding_pb2.Finding(
        severity=finding_pb2.FINDING_SEVERITY_WARNING,
        field="grant_types",
        text="The password grant must not be used. Keycloak grants it (direct access grants).",
        reference="RFC 9700, section 2.4",
    ),
]


def provider_of(portal: Portal, type_: Any = provider_pb2.PROVIDER_TYPE_KEYCLOAK) -> int:
    draft = provider_pb2.Provider(name="p", type=type_, well_known_uri="https://idp.test/x")
    return portal.providers.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft)).id


def create(portal: Portal, provider_id: int, request_id: str = "", **fields: Any) -> pb.ClientType:
    return portal.client_types.CreateClientType(
        pb.CreateClientTypeRequest(
            provider_id=provider_id,
            client_type=pb.ClientType(**(SEED | fields)),
            request_id=request_id,
        )
    )


def update(
    portal: Portal, created: pb.ClientType, *paths: str, request_id: str = "", **fields: Any
) -> pb.ClientType:
    given = pb.ClientType(id=created.id, provider_id=created.provider_id, **fields)
    return portal.client_types.UpdateClientType(
        pb.UpdateClientTypeRequest(
            client_type=given, update_mask=FieldMask(paths=paths), request_id=request_id
        )
    )


def test_a_created_client_type_has_its_findings(portal_on_each: Portal) -> None:
    created = create(portal_on_each, provider_of(portal_on_each))

    assert list(created.findings) == OF_SEED


def test_the_text_is_about_the_type_of_the_provider(portal: Portal) -> None:
    created = create(portal, provider_of(portal, provider_pb2.PROVIDER_TYPE_GLUU))

    assert [found.field for found in created.findings] == [found.field for found in OF_SEED]
    assert all("Gluu" in found.text for found in created.findings)


def test_a_retry_gets_the_findings_of_the_first_response(portal_on_each: Portal) -> None:
    provider_id, request_id = provider_of(portal_on_each), str(uuid4())
    created = create(portal_on_each, provider_id, request_id)

    assert list(created.findings) == OF_SEED
    assert create(portal_on_each, provider_id, request_id) == created

    request_id = str(uuid4())
    updated = update(portal_on_each, created, "description", request_id=request_id)

    assert list(updated.findings) == OF_SEED
    assert update(portal_on_each, created, "description", request_id=request_id) == updated


def test_an_updated_client_type_has_its_current_findings(portal: Portal) -> None:
    created = create(portal, provider_of(portal))
    unchanged = update(portal, created)
    fixed = update(
        portal,
        created,
        "response_types",
        "grant_types",
        response_types=[pb.RESPONSE_TYPE_CODE],
        grant_types=[pb.GRANT_TYPE_AUTHORIZATION_CODE],
    )

    assert list(unchanged.findings) == OF_SEED
    assert not fixed.findings


def test_an_error_does_not_keep_a_client_type_from_being_created(portal: Portal) -> None:
    unusable = create(
        portal,
        provider_of(portal),
        response_types=[pb.RESPONSE_TYPE_NONE],
        grant_types=[pb.GRANT_TYPE_REFRESH_TOKEN],
    )

    assert unusable.findings[0].severity == finding_pb2.FINDING_SEVERITY_ERROR
    assert unusable.findings[0].field == "grant_types"


def test_only_creates_and_updates_have_findings(portal: Portal) -> None:
    created = create(portal, provider_of(portal))
    read = portal.client_types.GetClientType(
        pb.GetClientTypeRequest(provider_id=created.provider_id, id=created.id)
    )
    listed = portal.client_types.ListClientTypes(
        pb.ListClientTypesRequest(provider_id=created.provider_id)
    )

    assert not read.findings
    assert not listed.client_types[0].findings


def test_findings_that_a_caller_sends_are_ignored(portal: Portal) -> None:
    created = create(portal, provider_of(portal), findings=[finding_pb2.Finding(text="mine")])

    assert list(created.findings) == OF_SEED


@pytest.mark.parametrize("message", [rest.ClientType, rest.ClientTypeInput])
def test_rest_has_no_findings_of_client_types(message: Any) -> None:
    assert "findings" not in message.DESCRIPTOR.fields_by_name
