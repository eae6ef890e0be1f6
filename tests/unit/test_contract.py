"""Guards against drift between the model, the protos and the REST contract."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
from google.api.annotations_pb2 import http  # type: ignore[import-untyped]
from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    FieldBehavior,
    field_behavior,
)
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
)
from google.protobuf.descriptor_pb2 import (
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodOptions,
)

from portal.oauth.v1 import (
    audit_pb2,
    client_pb2,
    client_type_pb2,
    errors_pb2,
    finding_pb2,
    provider_pb2,
    role_pb2,
    watch_pb2,
)
from portal.rest.v1 import portal_rest_pb2
from portal_server.domain.audit import (
    AuditAction,
    AuditKind,
    AuditOutcome,
    ChangeType,
    ResourceKind,
)
from portal_server.domain.client import CLIENT, ClientResolution, ClientState
from portal_server.domain.client_type import (
    CLIENT_TYPE,
    ClientType,
    GrantType,
    OktaAppType,
    ResponseType,
    TokenEndpointAuthMethod,
)
from portal_server.domain.discovery import CheckOutcome, FindingSeverity
from portal_server.domain.errors import Reason, Rule
from portal_server.domain.fields import Unknown
from portal_server.domain.keys import Role
from portal_server.domain.provider import PROVIDER, CredentialType, Provider, ProviderType
from portal_server.storage.rows.client_types import ClientTypeRow
from portal_server.storage.rows.providers import ProviderRow
from portal_server.wire.oauth_v1 import client_types, clients, providers
from portal_server.wire.oauth_v1.enums import Vocabulary, vocabulary_of, wire_name
from portal_server.wire.rest_v1 import dialect
from portal_server.wire.status import Surface
from tests.support.stack import ROOT
from tests.support.walk import NATIVE, READS, is_read
from tools.openapi.__main__ import DESCRIPTORS

REST: FileDescriptor = portal_rest_pb2.DESCRIPTOR
VOCABULARIES: list[Any] = [
    pytest.param(class_, vocabulary_of(class_), enum, id=class_.__name__)
    for class_, enum in (
        (ProviderType, provider_pb2.ProviderType),
        (ResponseType, client_type_pb2.ResponseType),
        (GrantType, client_type_pb2.GrantType),
        (
            TokenEndpointAuthMethod,
            client_type_pb2.TokenEndpointAuthMethod,
        ),
        (OktaAppType, client_type_pb2.OktaAppType),
        (CredentialType, provider_pb2.CredentialType),
        (CheckOutcome, provider_pb2.CheckOutcome),
        (ClientState, client_pb2.ClientState),
        (ClientResolution, client_pb2.ClientResolution),
        (FindingSeverity, finding_pb2.FindingSeverity),
        (Role, role_pb2.Role),
        (AuditKind, audit_pb2.AuditKind),
        (AuditAction, audit_pb2.AuditAction),
        (AuditOutcome, audit_pb2.AuditOutcome),
        (ChangeType, watch_pb2.ChangeType),
        (ResourceKind, watch_pb2.ResourceKind),
    )
]
OUTPUT_ONLY = {
    "Provider": {
        "id",
        "uid",
        "registration_access_token_set",
        "credential_client_secret_set",
        "create_time",
        "update_time",
    },
    "ClientType": {"id", "uid", "provider_id", "create_time", "update_time", "findings"},
    "Client": {
        "id",
        "uid",
        "provider_id",
        "client_type_id",
        "state",
        "state_time",
        "message",
        "client_id",
        "client_id_issue_time",
        "client_secret_expire_time",
        "client_secret_available_time",
        "requested",
        "registered",
        "differences",
        "registration_client_uri",
        "registration_access_token_set",
        "verify_time",
        "create_time",
        "update_time",
        "new_client_secret",
    },
}


def messages(file: FileDescriptor) -> Iterator[Descriptor]:
    yield from file.message_types_by_name.values()


def message(file: FileDescriptor, name: str) -> Descriptor:
    return {found.name: found for found in messages(file)}[name]


def behaviors(field: FieldDescriptor) -> set[str]:
    numbers = field.GetOptions().Extensions[field_behavior]
    return {FieldBehavior.Name(number) for number in numbers}


def all_enums() -> list[EnumDescriptor]:
    """Except the reasons of errors, which the server uses by their names."""
    files = [file for file in (*NATIVE, REST) if file is not errors_pb2.DESCRIPTOR]
    return [enum for file in files for enum in file.enum_types_by_name.values()]


def parameters(file: FileDescriptor, suffix: str) -> list[Any]:
    return [pytest.param(m, id=m.name) for m in messages(file) if m.name.endswith(suffix)]


@pytest.mark.parametrize(("class_", "vocabulary", "enum"), VOCABULARIES)
def test_each_word_has_an_enum_value_and_the_other_way_round(
    class_: type[StrEnum], vocabulary: Vocabulary[Any], enum: Any
) -> None:
    numbers = {vocabulary.numbers[word] for word in class_}

    assert numbers == set(enum.values()) - {0}
    assert {vocabulary.word(number) for number in numbers} == set(class_)
    assert {wire_name(word) for word in class_} == set(enum.keys()) - {vocabulary.unset}


@pytest.mark.parametrize(("class_", "vocabulary", "enum"), VOCABULARIES)
def test_an_enum_value_is_read_by_its_name_and_by_the_word(
    class_: type[StrEnum], vocabulary: Vocabulary[Any], enum: Any
) -> None:
    for word in class_:
        name = enum.Name(vocabulary.numbers[word])

        assert name.endswith(f"_{word.name}")
        assert vocabulary.parse(name) is word
        assert vocabulary.parse(word) is word
    assert vocabulary.parse(vocabulary.unset) == Unknown(vocabulary.unset)
    assert vocabulary.parse("") == Unknown("")


@pytest.mark.parametrize(("class_", "vocabulary", "enum"), VOCABULARIES)
def test_zero_is_not_a_word_and_a_number_without_a_name_is_unknown(
    class_: type[StrEnum], vocabulary: Vocabulary[Any], enum: Any
) -> None:
    assert vocabulary.optional_word(0) is None
    assert vocabulary.word(0) == Unknown(enum.Name(0))
    assert vocabulary.optional_word(len(class_) + 1) == Unknown(str(len(class_) + 1))
    assert vocabulary.word(-1) == Unknown("-1")
    assert vocabulary.numbers[None] == 0


def test_each_enum_of_the_protos_is_a_vocabulary() -> None:
    tested = {parameter.values[2].DESCRIPTOR.full_name for parameter in VOCABULARIES}

    assert {enum.full_name for enum in all_enums()} == tested


@pytest.mark.parametrize("enum", all_enums(), ids=lambda enum: enum.name)
def test_the_zero_of_each_enum_is_unspecified(enum: EnumDescriptor) -> None:
    prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in enum.name).lstrip("_")

    assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"
    assert all(value.name.startswith(f"{prefix}_") for value in enum.values)


RESOURCES = [
    pytest.param("Provider", PROVIDER, id="Provider"),
    pytest.param("ClientType", CLIENT_TYPE, id="ClientType"),
    pytest.param("Client", CLIENT, id="Client"),
]


def native(name: str) -> Descriptor:
    [found] = [m for file in NATIVE for m in messages(file) if m.name == name]
    return found


@pytest.mark.parametrize(("name", "draft"), RESOURCES)
def test_each_field_of_a_native_resource_is_in_the_draft_or_output_only_except_the_etag(
    name: str, draft: tuple[str, ...]
) -> None:
    fields = native(name).fields

    assert {f.name for f in fields} == {*draft, "etag", *OUTPUT_ONLY[name]}
    assert {f.name for f in fields if "OUTPUT_ONLY" in behaviors(f)} == OUTPUT_ONLY[name]
    assert all(behaviors(f) & {"REQUIRED", "OPTIONAL", "OUTPUT_ONLY"} for f in fields)


@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("Provider", {"name", "type", "well_known_uri"}),
        ("ClientType", {"name", "response_types", "grant_types"}),
        ("Client", {"name"}),
    ],
)
def test_the_protos_say_what_the_rules_require(name: str, required: set[str]) -> None:
    surface = dialect.SURFACE.fields
    rest_fields = message(REST, f"{name}Input").fields

    assert {f.name for f in native(name).fields if "REQUIRED" in behaviors(f)} == required
    assert {f.json_name for f in rest_fields if "REQUIRED" in behaviors(f)} == {
        surface[field] for field in required
    }


@pytest.mark.parametrize(("name", "draft"), RESOURCES)
def test_each_field_of_a_draft_is_a_key_of_the_rest_input_and_the_other_way_round(
    name: str, draft: tuple[str, ...]
) -> None:
    keys = [field.json_name for field in message(REST, f"{name}Input").fields]

    assert sorted(dialect.SURFACE.fields[field] for field in draft) == sorted(keys)


def test_the_rest_surface_spells_the_fields_of_drafts_and_headers_and_no_others() -> None:
    headers = {"request_id", "if_match"}
    assert set(dialect.SURFACE.fields) == {*PROVIDER, *CLIENT_TYPE, *CLIENT, *headers}


@pytest.mark.parametrize(
    ("surface", "name", "parent", "draft"),
    [
        pytest.param(providers.SURFACE, "CreateProviderRequest", "provider", PROVIDER),
        pytest.param(
            client_types.SURFACE,
            "CreateClientTypeRequest",
            "client_type",
            CLIENT_TYPE,
        ),
        pytest.param(clients.SURFACE, "RegisterClientRequest", "client", CLIENT),
    ],
)
def test_a_native_surface_spells_a_field_as_its_path_in_the_request(
    surface: Surface, name: str, parent: str, draft: tuple[str, ...]
) -> None:
    resource = native(name).fields_by_name[parent].message_type

    assert resource
    assert set(surface.fields) == set(draft)
    for field in draft:
        assert surface.fields[field] == f"{parent}.{field}"
        assert field in resource.fields_by_name


@pytest.mark.parametrize(
    ("row", "resource", "output_only"),
    [
        (
            ProviderRow,
            Provider,
            {"registration_access_token_set", "credential_client_secret_set", "etag"},
        ),
        (ClientTypeRow, ClientType, {"etag"}),
    ],
)
def test_a_row_has_the_fields_of_its_resource(
    row: Any, resource: Any, output_only: set[str]
) -> None:
    fields = set(resource.__dataclass_fields__)
    stored = {name for name, each in resource.__dataclass_fields__.items() if each.compare}

    assert set(row.__table__.columns.keys()) == stored
    assert fields == {f.name for f in native(resource.__name__).fields} - output_only


@pytest.mark.parametrize("request_", parameters(REST, "Request") + parameters(REST, "Input"))
def test_each_field_of_a_rest_request_is_optional(request_: Descriptor) -> None:
    # A map cannot be optional; an absent one is an empty one.
    implicit = [f.name for f in request_.fields if not f.has_presence and f.name != "labels"]

    assert implicit == []


@pytest.mark.parametrize("request_", parameters(REST, "Request"))
def test_each_number_of_a_rest_request_has_64_bits(request_: Descriptor) -> None:
    scalars = {f.name: f.type for f in request_.fields if f.message_type is None}
    texts = {"force", "provider_id", "client_type_id", "client_id"}

    assert {
        name for name, type_ in scalars.items() if type_ == FieldDescriptor.TYPE_STRING
    } <= texts
    assert {type_ for name, type_ in scalars.items() if name not in texts} <= {
        FieldDescriptor.TYPE_INT64
    }


REST_RESPONSES = [
    "Provider",
    "ProviderWithClientTypes",
    "ClientType",
    "Client",
    "ClientWithSecret",
]
REST_LISTS = ["ListProviders", "ListClientTypes", "ListClients"]


@pytest.mark.parametrize("name", REST_RESPONSES)
def test_an_id_in_a_rest_response_has_32_bits_so_that_json_writes_a_number(name: str) -> None:
    fields = message(REST, name).fields

    wide = {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
    assert [f.type for f in fields if f.json_name == "ID"] == [FieldDescriptor.TYPE_INT32]
    assert not wide & {field.type for field in fields}


def name_at_the_edge(name: str) -> str:
    """The key that edge/rest.lua makes of a field's name, for the errors of the transcoder."""
    table = re.search(r"local ACRONYMS = \{(.*?)\}", (ROOT / "edge/rest.lua").read_text())
    assert table
    acronyms = dict(re.findall(r'(\w+) = "(\w+)"', table[1]))
    return "".join(acronyms.get(word, word.capitalize()) for word in name.split("_"))


@pytest.mark.parametrize("input_", parameters(REST, "Input"))
def test_the_edge_has_the_key_of_each_field_in_its_errors(input_: Descriptor) -> None:
    assert [name_at_the_edge(f.name) for f in input_.fields] == [f.json_name for f in input_.fields]


@pytest.mark.parametrize(("name", "draft"), RESOURCES)
def test_a_rest_response_has_each_field_of_the_draft_except_secrets(
    name: str, draft: tuple[str, ...]
) -> None:
    fields = message(REST, name).fields_by_name

    assert {field for field in draft if dialect.field_name(field) not in fields} <= SECRETS


PROVIDER_KEYS = ["Name", "Type", "WellKnownURL", "SSLInsecureSkipVerify"]
# Only those that are set are in a response: the callers of earlier versions do not know them.
REGISTRATION_KEYS = ["RegistrationURL", "CACertificate", "CredentialType", "CredentialClientID"]
SCOPE_KEYS = ["CredentialScope"]
CLIENT_KEYS = ["Name", "RedirectURLs", "Scope", "Labels"]
STATE_KEYS = ["ID", "State", "Message", "OAuthClientID"]
EXPIRY_KEYS = ["OAuthClientSecretExpiresAt", "Differences", "CreatedAt", "UpdatedAt"]
CLIENT_TYPE_KEYS = [
    "Name",
    "Description",
    "ResponseTypes",
    "GrantType",
    "TokenEndpointAuthMethod",
    "OktaAppType",
]
RESPONSE_KEYS = ["ID", "CreatedAt", "UpdatedAt"]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "ProviderInput",
            [
                *PROVIDER_KEYS,
                "RegistrationAccessToken",
                *REGISTRATION_KEYS,
                "CredentialClientSecret",
                *SCOPE_KEYS,
            ],
        ),
        ("Provider", [*PROVIDER_KEYS, *RESPONSE_KEYS, *REGISTRATION_KEYS, *SCOPE_KEYS]),
        (
            "ProviderWithClientTypes",
            [*PROVIDER_KEYS, *RESPONSE_KEYS, "ClientTypes", *REGISTRATION_KEYS, *SCOPE_KEYS],
        ),
        ("ClientTypeInput", CLIENT_TYPE_KEYS),
        ("ClientType", [*CLIENT_TYPE_KEYS, *RESPONSE_KEYS]),
        ("ClientInput", CLIENT_KEYS),
        ("Client", [*CLIENT_KEYS, *STATE_KEYS, *EXPIRY_KEYS, "OAuthClientSecret"]),
        ("ClientWithSecret", [*CLIENT_KEYS, *STATE_KEYS, "OAuthClientSecret", *EXPIRY_KEYS]),
        ("Difference", ["Field", "Asked", "Granted", "Wider"]),
        ("Preview", ["URL", "Body", "Findings"]),
        ("Finding", ["Severity", "Field", "Text", "Reference"]),
        ("Check", ["OK", "Checks"]),
        ("ProviderCheck", ["Name", "Outcome", "Text"]),
        ("Status", ["status"]),
    ],
)
def test_the_keys_of_rest_json_are_those_of_the_contract_in_its_order(
    name: str, keys: list[str]
) -> None:
    fields = message(REST, name).fields
    by_number = sorted(fields, key=lambda field: field.number)

    assert [field.json_name for field in by_number] == keys
    assert list(fields) == by_number


def test_each_rest_message_is_tested_for_its_keys_or_is_a_request() -> None:
    others = {m.name for m in messages(REST) if not m.name.endswith("Request")}

    results = {"Difference", "Preview", "Finding", "Check", "ProviderCheck", "Status"}
    parts = {f"{name}Response" for name in REST_LISTS}
    inputs = {"ProviderInput", "ClientTypeInput", "ClientInput"}
    assert others == {*REST_RESPONSES, *inputs, *results, *parts}


@pytest.mark.parametrize("name", REST_LISTS)
def test_a_rest_list_is_a_stream_of_parts_which_edge_rest_lua_writes_as_one_array(
    name: str,
) -> None:
    method = REST.services_by_name["PortalRestService"].methods_by_name[name]
    [field] = method.output_type.fields

    assert method.server_streaming
    assert field.is_repeated
    assert field.json_name == "Items"
    assert field.message_type in [message(REST, response) for response in REST_RESPONSES]


BASE = "/portal-api/oauth-providers"
TYPE = BASE + "/{provider_id}/client-types/{client_type_id}"


@pytest.mark.parametrize(
    ("name", "verb", "path", "body", "response"),
    [
        ("ListProviders", "get", BASE, "", "ListProvidersResponse"),
        ("CreateProvider", "post", BASE, "provider", "Provider"),
        ("GetProvider", "get", BASE + "/{provider_id}", "", "ProviderWithClientTypes"),
        ("UpdateProvider", "put", BASE + "/{provider_id}", "provider", "ProviderWithClientTypes"),
        ("DeleteProvider", "delete", BASE + "/{provider_id}", "", "Status"),
        (
            "ListClientTypes",
            "get",
            BASE + "/{provider_id}/client-types",
            "",
            "ListClientTypesResponse",
        ),
        (
            "CreateClientType",
            "post",
            BASE + "/{provider_id}/client-types",
            "client_type",
            "ClientType",
        ),
        (
            "GetClientType",
            "get",
            BASE + "/{provider_id}/client-types/{client_type_id}",
            "",
            "ClientType",
        ),
        (
            "UpdateClientType",
            "put",
            BASE + "/{provider_id}/client-types/{client_type_id}",
            "client_type",
            "ClientType",
        ),
        (
            "DeleteClientType",
            "delete",
            BASE + "/{provider_id}/client-types/{client_type_id}",
            "",
            "Status",
        ),
        ("CheckProvider", "get", BASE + "/{provider_id}/check", "", "Check"),
        ("PreviewClient", "post", TYPE + "/preview", "client", "Preview"),
        ("ListClients", "get", TYPE + "/clients", "", "ListClientsResponse"),
        ("CreateClient", "post", TYPE + "/clients", "client", "ClientWithSecret"),
        ("GetClient", "get", TYPE + "/clients/{client_id}", "", "Client"),
        ("UpdateClient", "put", TYPE + "/clients/{client_id}", "client", "Client"),
        ("DeleteClient", "delete", TYPE + "/clients/{client_id}", "", "Status"),
        (
            "RotateClientSecret",
            "put",
            TYPE + "/clients/{client_id}/rotate",
            "",
            "ClientWithSecret",
        ),
    ],
)
def test_an_operation_has_the_path_and_the_response_of_the_contract(
    name: str, verb: str, path: str, body: str, response: str
) -> None:
    service = REST.services_by_name["PortalRestService"]
    method = service.methods_by_name[name]
    rule = method.GetOptions().Extensions[http]

    assert (rule.WhichOneof("pattern"), getattr(rule, verb), rule.body) == (verb, path, body)
    assert method.output_type is message(REST, response)
    assert len(service.methods) == 18, "a new operation needs a row here"


SECRETS = {"registration_access_token", "credential_client_secret"}


def secrets_of(file: FileDescriptor) -> list[FieldDescriptor]:
    return [f for m in messages(file) for f in m.fields if f.name in SECRETS]


@pytest.mark.parametrize("file", [*NATIVE, REST], ids=lambda file: file.name)
def test_a_secret_that_callers_send_is_input_only(file: FileDescriptor) -> None:
    assert all("INPUT_ONLY" in behaviors(field) for field in secrets_of(file))


def test_no_rest_response_has_a_place_for_a_secret_that_callers_send() -> None:
    assert {field.full_name.split(".")[-2] for field in secrets_of(REST)} == {"ProviderInput"}


def test_few_messages_have_the_secret_of_a_client() -> None:
    name = {"client_secret", "oauth_client_secret", "new_client_secret"}
    places = [
        m.name
        for file in (*NATIVE, REST)
        for m in messages(file)
        for f in m.fields
        if f.name in name
    ]

    # Client has it only in the response to an update in which the provider replaced it.
    responses = ["RegisterClientResponse", "RotateClientSecretResponse", "ClientWithSecret"]
    assert sorted(places) == sorted(["Client", "Client", *responses])


@pytest.mark.parametrize(
    ("reasons", "enum"),
    [(Reason, errors_pb2.ErrorReason), (Rule, errors_pb2.FieldErrorReason)],
    ids=["errors", "fields"],
)
def test_every_reason_of_the_server_is_in_the_protos(reasons: type[StrEnum], enum: Any) -> None:
    prefix = enum.DESCRIPTOR.values[0].name.removesuffix("UNSPECIFIED")
    declared = [name.removeprefix(prefix) for name in enum.keys()[1:]]

    assert list(reasons) == declared


# How the transcoder of Envoy maps a status of gRPC.
REST_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "OUT_OF_RANGE": 400,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def status_by_reason() -> dict[str, int]:
    """The statuses that edge/rest.lua has for reasons."""
    table = re.search(r"local STATUS = \{(.*?)\}", (ROOT / "edge/rest.lua").read_text(), re.DOTALL)
    assert table
    return {name: int(status) for name, status in re.findall(r"(\w+) = (\d+)", table[1])}


def test_the_comment_of_each_reason_has_its_status_on_both_surfaces() -> None:
    of_edge = status_by_reason()
    descriptors = FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    [file] = [f for f in descriptors.file if f.name == errors_pb2.DESCRIPTOR.name]
    [(at, enum)] = [(i, e) for i, e in enumerate(file.enum_type) if e.name == "ErrorReason"]
    comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
    prefix = (
        FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER,
        at,
        EnumDescriptorProto.VALUE_FIELD_NUMBER,
    )

    for number, value in list(enumerate(enum.value))[1:]:
        statuses = re.match(r" ([A-Z_]+), REST (\d+)\. ", comments[*prefix, number])
        assert statuses, value.name
        of_code = REST_STATUS[statuses[1]]
        reason = value.name.removeprefix("ERROR_REASON_")
        assert int(statuses[2]) == of_edge.pop(reason, of_code), value.name
    assert of_edge == {}


WRITES = (
    *("Create", "Update", "Delete", "Register", "Rotate", "Resolve", "Forget", "Check", "Revoke"),
)


@pytest.mark.parametrize("file", [*NATIVE, REST], ids=lambda file: file.name)
def test_each_read_and_no_write_is_declared_without_side_effects(file: FileDescriptor) -> None:
    methods = [m for s in file.services_by_name.values() for m in s.methods]
    level = MethodOptions.NO_SIDE_EFFECTS
    for method in methods:
        reads = is_read(method.full_name)

        assert (method.GetOptions().idempotency_level == level) is reads, method.full_name
        assert method.name.startswith((*READS, *WRITES))
