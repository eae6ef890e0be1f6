"""The OpenAPI document: fresh, valid, and saying what the protos, the rules and the edge say."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from portal.rest.v1 import portal_rest_pb2
from portal_server.domain import client, client_type, provider
from portal_server.domain.fields import Text
from portal_server.domain.keys import Role
from portal_server.wire.rest_v1 import dialect
from tests.support.stack import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "edge/openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
CLIENT_TYPE = {"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"}
PROVIDER = {"Name": "x", "Type": "Okta", "WellKnownURL": "https://idp.test/x"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for verb in set(item) - {"servers"}:
            yield verb, path, item[verb]


def accepts(message: str, body: dict[str, Any]) -> bool:
    """Whether the document's schema of a message allows this, and has each of its fields."""
    strict = {
        name: schema | {"additionalProperties": not schema.get("additionalProperties", False)}
        for name, schema in SCHEMAS.items()
    }
    components = DOCUMENT["components"] | {"schemas": strict}
    schema = {"$ref": f"#/components/schemas/{message}", "components": components}
    return bool(OAS31Validator(schema).is_valid(body))


def test_the_document_is_what_the_protos_and_rules_make_now() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tools.openapi", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize("role", Role)
def test_the_document_and_the_page_on_api_keys_have_each_role(role: Role) -> None:
    text = DOCUMENT["components"]["securitySchemes"]["key"]["description"]

    assert f"`{role}`" in text
    assert f"| `{role}` |" in (ROOT / "docs/keys.md").read_text()


def test_the_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()

    assert DOCUMENT["openapi"] == "3.1.0"


def test_each_method_of_the_service_is_an_operation_and_the_probes_are_the_only_others() -> None:
    methods = portal_rest_pb2.DESCRIPTOR.services_by_name["PortalRestService"].methods_by_name

    names = [operation["operationId"] for _, _, operation in operations()]
    assert sorted(names) == sorted([*methods, "Health", "Live", "Ready"])


@pytest.mark.parametrize("name", sorted(set(SCHEMAS) - {"Errors"}))
def test_the_keys_of_a_schema_are_those_of_its_message_in_their_order(name: str) -> None:
    fields = portal_rest_pb2.DESCRIPTOR.message_types_by_name[name].fields

    assert list(SCHEMAS[name]["properties"]) == [field.json_name for field in fields]


def test_a_list_is_a_bare_array() -> None:
    item = DOCUMENT["paths"]["/oauth-providers/{provider_id}/client-types"]
    response = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert response["type"] == "array"
    assert response["items"] == {"$ref": "#/components/schemas/ClientType"}


def test_everything_has_a_description() -> None:
    for _, _, operation in operations():
        assert operation["summary"]
    for schema in SCHEMAS.values():
        assert schema["description"]
    for name in set(SCHEMAS) - {"Errors"}:
        assert all(value["description"] for value in SCHEMAS[name]["properties"].values())


@pytest.mark.parametrize("name", sorted(set(SCHEMAS) - {"Errors"}))
def test_the_examples_are_what_the_schemas_allow(name: str) -> None:
    properties = SCHEMAS[name]["properties"]
    example = {
        key: value["examples"][0] for key, value in properties.items() if "examples" in value
    }

    assert accepts(name, {"ClientTypes": [], **example} if "ClientTypes" in properties else example)


def test_each_body_has_an_example_with_known_fields_that_its_schema_allows() -> None:
    bodies = [item["requestBody"] for _, _, item in operations() if "requestBody" in item]

    assert len(bodies) >= 5
    for body in bodies:
        content = body["content"]["application/json"]
        message = content["schema"]["$ref"].rpartition("/")[2]
        assert content["example"].keys() <= SCHEMAS[message]["properties"].keys()
        assert accepts(message, content["example"])


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (CLIENT_TYPE, True),
        (CLIENT_TYPE | {"ResponseTypes": " code ,\ttoken,code"}, True),
        (CLIENT_TYPE | {"ResponseTypes": "id_token"}, True),
        (CLIENT_TYPE | {"ResponseTypes": "id token"}, False),
        (CLIENT_TYPE | {"ResponseTypes": "code,"}, False),
        (CLIENT_TYPE | {"ResponseTypes": ""}, False),
        (CLIENT_TYPE | {"Name": " \n"}, False),
        (CLIENT_TYPE | {"Name": "n" * 255}, True),
        (CLIENT_TYPE | {"Name": "n" * 256}, False),
        (CLIENT_TYPE | {"Description": "a\0"}, False),
        (CLIENT_TYPE | {"Description": None, "OktaAppType": ""}, True),
        (CLIENT_TYPE | {"OktaAppType": "Web"}, False),
        (CLIENT_TYPE | {"ID": "ignored", "x": []}, True),
        (CLIENT_TYPE | {"": 1}, False),
    ],
)
def test_the_document_allows_the_bodies_that_the_service_accepts(
    body: dict[str, Any], *, good: bool
) -> None:
    assert accepts("ClientTypeInput", body) is good


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (PROVIDER, True),
        (PROVIDER | {"WellKnownURL": "HTTP://idp:80?x"}, True),
        (PROVIDER | {"WellKnownURL": "https://u:p@idp.test/"}, False),
        (PROVIDER | {"WellKnownURL": "https://idp.test/#f"}, False),
        (PROVIDER | {"WellKnownURL": "ftp://idp.test/"}, False),
        (PROVIDER | {"Type": "okta"}, False),
        (PROVIDER | {"SSLInsecureSkipVerify": "true"}, False),
        ({"Name": "x"}, False),
    ],
)
def test_the_schema_allows_the_provider_bodies_that_the_service_accepts(
    body: dict[str, Any], *, good: bool
) -> None:
    assert accepts("ProviderInput", body) is good


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ({}, True),
        ({"RedirectURLs": " https://a.test/cb , com.example.app:/cb"}, True),
        ({"RedirectURLs": ""}, True),
        ({"RedirectURLs": "https://a.test/#x"}, False),
        ({"RedirectURLs": "https://a.test/*"}, False),
        ({"RedirectURLs": "a.test"}, False),
        ({"Scope": "openid email"}, True),
        ({"Scope": " openid"}, False),
        ({"Labels": {"application": "7"}}, True),
        ({"Labels": None}, True),
        ({"Labels": {"application": 7}}, False),
        ({"Labels": {"": "7"}}, False),
        ({"Labels": "application"}, False),
        ({"Name": ""}, False),
    ],
)
def test_the_schema_allows_the_client_bodies_that_the_service_accepts(
    more: dict[str, Any], *, good: bool
) -> None:
    assert accepts("ClientInput", {"Name": "x", **more}) is good


def test_the_secret_of_a_client_is_in_few_responses() -> None:
    having = [name for name, one in SCHEMAS.items() if "OAuthClientSecret" in one["properties"]]
    responses = [
        operation["operationId"]
        for _, _, operation in operations()
        if "Cache-Control" in operation["responses"]["200"].get("headers", {})
    ]

    assert sorted(having) == ["Client", "ClientWithSecret"]
    assert "OAuthClientSecret" not in SCHEMAS["Client"]["required"]
    assert sorted(responses) == ["CreateClient", "RotateClientSecret", "UpdateClient"]


@pytest.mark.parametrize("message", ["Provider", "ProviderWithClientTypes"])
def test_no_response_has_the_secret(message: str) -> None:
    assert "RegistrationAccessToken" not in SCHEMAS[message]["properties"]
    assert SCHEMAS["ProviderInput"]["properties"]["RegistrationAccessToken"]["writeOnly"] is True


def test_later_versions_may_add_fields_to_responses() -> None:
    bodies = {"ProviderInput", "ClientTypeInput", "ClientInput"}

    for name, schema in SCHEMAS.items():
        assert schema.get("additionalProperties") is (None if name in bodies else True), name


def test_times_are_as_the_dialect_writes_them() -> None:
    pattern = SCHEMAS["ClientType"]["properties"]["CreatedAt"]["pattern"]

    assert re.search(pattern, dialect.write_minute(datetime.now(UTC)))
    assert not re.search(pattern, datetime.now(UTC).isoformat())


def test_the_errors_are_those_of_the_page_on_rest() -> None:
    page = (ROOT / "docs/rest.md").read_text()
    listed = set(re.findall(r"^\| (\d{3}) \|", page, re.MULTILINE))
    documented = {status for _, _, operation in operations() for status in operation["responses"]}

    # 405 is for what is not a operation.
    assert documented - {"200"} == listed - {"405"}


@pytest.mark.parametrize(
    ("verb", "headers"),
    [
        ("get", set()),
        ("post", {"IdempotencyKey"}),
        ("put", {"IdempotencyKey", "IfMatch"}),
        ("delete", {"IdempotencyKey", "IfMatch"}),
    ],
)
def test_the_headers_of_a_verb(verb: str, headers: set[str]) -> None:
    of_verb = [operation for its, _, operation in operations() if its == verb]

    assert of_verb
    for operation in of_verb:
        if operation["operationId"] == "PreviewClient":  # a POST that only reads
            continue
        references = [p["$ref"] for p in operation.get("parameters", []) if "$ref" in p]
        assert {reference.rpartition("/")[2] for reference in references} == headers


@pytest.mark.parametrize(
    ("message", "table"),
    [
        ("ProviderInput", provider.PROVIDER),
        ("ClientTypeInput", client_type.CLIENT_TYPE),
        ("ClientInput", client.CLIENT),
    ],
    ids=["provider", "client type", "client"],
)
def test_the_description_of_each_key_names_its_limit_and_words(
    message: str, table: dict[str, Any]
) -> None:
    properties = SCHEMAS[message]["properties"]
    for name, field in table.items():
        comment = properties[dialect.SURFACE.fields[name]]["description"]
        if isinstance(field, Text):
            assert str(field.max_length) in comment, name
        if hasattr(field, "vocabulary"):
            spelled = [dialect.spell(word) for word in field.vocabulary]
            assert re.findall(r"`(\w+)`", comment)[-len(spelled) :] == spelled, name


def test_the_tables_of_the_rest_page_have_every_field_and_status() -> None:
    page = (ROOT / "docs/rest.md").read_text()
    statuses = {s for _, _, operation in operations() for s in operation["responses"]} - {"200"}

    for message in ("ProviderInput", "ClientTypeInput", "ClientInput"):
        for name, schema in SCHEMAS[message]["properties"].items():
            assert f"| `{name}` | {message} |" in page
            assert schema["description"] in page
    for status in (*statuses, "405"):
        assert f"\n| {status} | " in page
