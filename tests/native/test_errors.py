"""What goes wrong around a call, and what its caller and the log are reported."""

import logging
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import grpc
import psycopg
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_status import rpc_status

from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal.rest.v1 import portal_rest_pb2
from portal_server.domain.keys import Role
from tests.conftest import Portal, serve, with_key
from tests.support.databases import migrated
from tests.support.details import Rejection
from tests.support.postgres import running_postgres
from tests.support.walk import each_method, send

CREATE = "/portal.oauth.v1.ProviderService/CreateProvider"


def call(portal: Portal, path: str, message: bytes) -> object:
    """Call a method with these very bytes."""
    raw: Any = portal.channel.unary_unary(path)
    return raw(message)


@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x05ab", b"\x0a\x04\x1a\x02\xff\xfe"])
def test_bytes_that_are_not_a_message_are_an_invalid_argument(
    portal: Portal, message: bytes
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(portal, CREATE, message)
    rejection = Rejection(error.value)

    assert rejection.code == grpc.StatusCode.INVALID_ARGUMENT
    assert rejection.fields == ["request"]


def test_an_unknown_method_is_unimplemented(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(portal, "/portal.oauth.v1.ProviderService/Nope", b"")

    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_that_is_too_big_is_rejected(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(portal, CREATE, b"\x0a" * (2 << 20))

    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def behind_its_back(url: str, statement: str) -> None:
    """Run a statement in a portal's database, past the portal."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as sqlite:
            sqlite.execute(statement)
            sqlite.commit()
        return
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_an_unexpected_schema_is_internal_and_only_the_log_has_the_text(
    portal_on_each: Portal, database_url: str, log: pytest.LogCaptureFixture
) -> None:
    behind_its_back(database_url, "ALTER TABLE provider RENAME COLUMN name TO eman")
    with pytest.raises(grpc.RpcError) as error:
        portal_on_each.providers.GetProvider(provider_pb2.GetProviderRequest(id=1))
    rejection = Rejection(error.value)

    # Trying again helps nobody: it is not the storage that is away.
    assert rejection.code == grpc.StatusCode.INTERNAL
    assert "column" not in str(error.value)
    assert "eman" not in str(error.value)
    assert "Traceback" in log.text
    assert "column" in log.text


def test_an_exception_is_internal_with_a_trace_id_that_the_log_has(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("s3cr3t detail")

    monkeypatch.setattr("portal_server.catalog.providers.Providers.get", broken)
    with caplog.at_level(logging.INFO), pytest.raises(grpc.RpcError) as error:
        portal.providers.GetProvider(provider_pb2.GetProviderRequest(id=1))
    rejection = Rejection(error.value)

    assert rejection.code == grpc.StatusCode.INTERNAL
    assert rejection.reason == "INTERNAL"
    assert "s3cr3t" not in str(error.value)
    assert rejection.message == f"internal error {rejection.trace_id}"
    assert f"trace={rejection.trace_id}" in caplog.text
    assert "RuntimeError: s3cr3t detail" in caplog.text
    assert "Traceback" in caplog.text


def test_a_database_that_is_away_is_unavailable_and_comes_back_without_a_restart() -> None:
    with running_postgres() as cluster, serve(migrated(cluster.url())) as portal:
        before = list_providers(portal.providers)
        cluster.stop()
        with pytest.raises(grpc.RpcError) as error:
            list_providers(portal.providers)
        cluster.start()
        after = list_providers(portal.providers)
    rejection = Rejection(error.value)

    assert rejection.code == grpc.StatusCode.UNAVAILABLE
    assert rejection.reason == "STORAGE_UNAVAILABLE"
    assert before == after


def list_providers(stub: ProviderServiceStub) -> provider_pb2.ListProvidersResponse:
    return stub.ListProviders(provider_pb2.ListProvidersRequest())


def test_the_largest_error_arrives_complete(portal: Portal) -> None:
    request = client_type_pb2.CreateClientTypeRequest(
        provider_id=1,
        client_type=client_type_pb2.ClientType(
            description="\0",
            response_types=range(2_000_000_000, 2_000_001_000),  # type: ignore[arg-type]
            grant_types=range(2_000_000_000, 2_000_001_000),  # type: ignore[arg-type]
            okta_app_type=77,  # type: ignore[arg-type]
            token_endpoint_auth_method=77,  # type: ignore[arg-type]
        ),
    )
    draft = provider_pb2.Provider(
        name="p", type=provider_pb2.PROVIDER_TYPE_OKTA, well_known_uri="https://idp.test/"
    )
    portal.providers.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft))
    with pytest.raises(grpc.RpcError) as error:
        portal.client_types.CreateClientType(request)

    assert set(Rejection(error.value).fields) == {
        f"client_type.{name}"
        for name in (
            "name",
            "description",
            "response_types",
            "grant_types",
            "token_endpoint_auth_method",
            "okta_app_type",
        )
    }


def test_deleting_returns_empty(portal: Portal) -> None:
    draft = provider_pb2.Provider(
        name="p", type=provider_pb2.PROVIDER_TYPE_OKTA, well_known_uri="https://idp.test/"
    )
    made = portal.providers.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft))
    response = portal.providers.DeleteProvider(provider_pb2.DeleteProviderRequest(id=made.id))

    assert response == Empty()


TOKEN = "t0p-s3cr3t"  # noqa: S105


def provider(**fields: Any) -> provider_pb2.Provider:
    given: dict[str, Any] = {
        "name": "p",
        "type": provider_pb2.PROVIDER_TYPE_OTHER,
        "well_known_uri": "https://idp.test/",
    }
    return provider_pb2.Provider(**(given | fields))


def create(portal: Portal, **fields: Any) -> provider_pb2.Provider:
    return portal.providers.CreateProvider(
        provider_pb2.CreateProviderRequest(provider=provider(**fields))
    )


def error_of(call: Callable[[], object]) -> Any:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


@each_method
@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x7f"], ids=["no tag", "cut short"])
def test_every_method_rejects_bytes_that_are_not_a_message(
    portal: Portal, method: MethodDescriptor, message: bytes
) -> None:
    rejection = Rejection(error_of(lambda: send(portal.channel, method, message)))

    assert rejection.code == grpc.StatusCode.INVALID_ARGUMENT
    assert rejection.reason == "INVALID_FIELDS"
    assert rejection.fields == ["request"]


@pytest.mark.parametrize(
    "path",
    [
        "/portal.oauth.v1.ProviderService/createProvider",
        "/portal.oauth.v2.ProviderService/CreateProvider",
        "/ProviderService/CreateProvider",
        "/portal.oauth.v1.ProviderService/",
        "/",
    ],
)
def test_another_spelling_is_unimplemented(portal: Portal, path: str) -> None:
    assert error_of(lambda: call(portal, path, b"")).code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_just_below_the_limit_is_read_and_rejected_for_what_is_in_it(
    portal: Portal,
) -> None:
    rejection = Rejection(error_of(lambda: create(portal, name="n" * ((1 << 20) - 100))))

    assert rejection.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [(v.field, v.reason) for v in rejection.violations] == [("provider.name", "TOO_LONG")]


def test_an_unknown_field_is_ignored(portal: Portal) -> None:
    message = provider_pb2.CreateProviderRequest(provider=provider()).SerializeToString()
    raw: Any = call(portal, CREATE, message + b"\xf8\x01\x07")

    assert provider_pb2.Provider.FromString(raw).name == "p"


CLIENT_TYPE = client_type_pb2.ClientType(
    name="c",
    response_types=[client_type_pb2.RESPONSE_TYPE_CODE],
    grant_types=[client_type_pb2.GRANT_TYPE_PKCE],
)


def become_okta_too_early(portal: Portal) -> object:
    made = create(portal)
    portal.client_types.CreateClientType(
        client_type_pb2.CreateClientTypeRequest(provider_id=made.id, client_type=CLIENT_TYPE)
    )
    return portal.providers.UpdateProvider(
        provider_pb2.UpdateProviderRequest(
            provider=provider_pb2.Provider(id=made.id, type=provider_pb2.PROVIDER_TYPE_OKTA)
        )
    )


@pytest.mark.parametrize(
    ("rejected", "code", "reason", "details"),
    [
        pytest.param(
            lambda p: create(p, name=""),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_FIELDS",
            ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RequestInfo"],
            id="a bad field",
        ),
        pytest.param(
            lambda p: p.providers.GetProvider(provider_pb2.GetProviderRequest(id=9)),
            grpc.StatusCode.NOT_FOUND,
            "PROVIDER_NOT_FOUND",
            ["google.rpc.ErrorInfo", "google.rpc.ResourceInfo", "google.rpc.RequestInfo"],
            id="no provider",
        ),
        pytest.param(
            lambda p: p.client_types.GetClientType(
                client_type_pb2.GetClientTypeRequest(provider_id=create(p).id, id=9)
            ),
            grpc.StatusCode.NOT_FOUND,
            "CLIENT_TYPE_NOT_FOUND",
            ["google.rpc.ErrorInfo", "google.rpc.ResourceInfo", "google.rpc.RequestInfo"],
            id="no client type",
        ),
        pytest.param(
            become_okta_too_early,
            grpc.StatusCode.FAILED_PRECONDITION,
            "OKTA_APP_TYPE_MISSING",
            ["google.rpc.ErrorInfo", "google.rpc.PreconditionFailure", "google.rpc.RequestInfo"],
            id="a client type lacks an app type",
        ),
        pytest.param(
            lambda p: ProviderServiceStub(p.anonymous).ListProviders(
                provider_pb2.ListProvidersRequest()
            ),
            grpc.StatusCode.UNAUTHENTICATED,
            "KEY_INVALID",
            ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"],
            id="no key",
        ),
        pytest.param(
            lambda p: ProviderServiceStub(
                with_key(p.anonymous, p.keyring.create(Role.VIEWER, ""))
            ).DeleteProvider(provider_pb2.DeleteProviderRequest(id=9)),
            grpc.StatusCode.PERMISSION_DENIED,
            "ROLE_NOT_ALLOWED",
            ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"],
            id="a viewer",
        ),
    ],
)
def test_an_error_has_its_code_its_reason_and_its_details(
    portal_on_each: Portal,
    rejected: Callable[[Portal], object],
    code: grpc.StatusCode,
    reason: str,
    details: list[str],
) -> None:
    error = error_of(lambda: rejected(portal_on_each))
    status: Any = rpc_status.from_call(error)
    rejection = Rejection(error)

    assert (rejection.code, rejection.reason) == (code, reason)
    assert [detail.TypeName() for detail in status.details] == details
    assert rejection.message == error.details() != ""


def test_a_missing_id_is_reported_with_the_other_fields(portal: Portal) -> None:
    request = client_type_pb2.CreateClientTypeRequest()
    rejection = Rejection(error_of(lambda: portal.client_types.CreateClientType(request)))

    assert set(rejection.fields) == {
        "provider_id",
        "client_type.name",
        "client_type.response_types",
        "client_type.grant_types",
    }


def test_the_message_has_the_first_violations_and_the_details_all_of_them(portal: Portal) -> None:
    rejection = Rejection(
        error_of(
            lambda: create(
                portal,
                name="",
                type=99,
                well_known_uri="",
                registration_access_token="\0",  # noqa: S106
            )
        )
    )

    assert len(rejection.violations) == 4
    assert all(field in rejection.message for field in rejection.fields[:3])
    assert rejection.fields[3] not in rejection.message
    assert rejection.message.endswith("; and 1 more")


def test_an_exception_in_a_stream_is_internal_and_sends_no_row(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    create(portal)

    def broken(_row: object) -> None:
        raise RuntimeError("secret-of-a-row")

    monkeypatch.setattr("portal_server.wire.rest_v1.providers._message", broken)
    rows: list[object] = []
    request = portal_rest_pb2.ListProvidersRequest()
    error = error_of(lambda: rows.extend(portal.rest.ListProviders(request)))
    rejection = Rejection(error)

    assert rows == []
    assert rejection.code == grpc.StatusCode.INTERNAL
    assert "secret-of-a-row" not in str(error)
    assert rejection.message == f"internal error {rejection.trace_id}"
    assert f"trace={rejection.trace_id}" in log.text
    assert "RuntimeError: secret-of-a-row" in log.text


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"registration_access_token": TOKEN * 500}, id="too long"),
        pytest.param({"registration_access_token": TOKEN + "\0"}, id="a NUL"),
        pytest.param(
            {"registration_access_token": TOKEN, "name": "", "type": 99, "well_known_uri": "x"},
            id="everything else is wrong",
        ),
    ],
)
def test_a_token_is_in_no_error_and_no_log(
    portal: Portal, log: pytest.LogCaptureFixture, fields: dict[str, Any]
) -> None:
    made = create(portal)
    errors = [
        error_of(lambda: create(portal, **fields)),
        error_of(
            lambda: portal.providers.UpdateProvider(
                provider_pb2.UpdateProviderRequest(
                    provider=provider_pb2.Provider(id=made.id, **fields)
                )
            )
        ),
    ]
    expected = [f"{error.details()} {error.trailing_metadata()}" for error in errors]

    assert not [text for text in expected if TOKEN in text]
    assert "CreateProvider" in log.text
    assert TOKEN not in log.text


def test_a_token_is_in_no_log_even_when_the_database_rejects_its_row(
    portal_on_each: Portal, database_url: str, log: pytest.LogCaptureFixture
) -> None:
    behind_its_back(
        database_url,
        "CREATE TRIGGER no BEFORE INSERT ON provider BEGIN SELECT RAISE(ABORT, 'no'); END"
        if database_url.startswith("sqlite")
        else "ALTER TABLE provider ADD CHECK (name <> 'p')",
    )
    error = error_of(lambda: create(portal_on_each, registration_access_token=TOKEN))

    assert Rejection(error).code == grpc.StatusCode.INTERNAL
    assert TOKEN not in str(error)
    assert "Traceback" in log.text
    assert TOKEN not in log.text


def wire_size(error: Any) -> int:
    """The size of a error's trailers as HTTP/2 counts it (RFC 9113, section 10.5.1)."""
    printable = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
    trailers = [("grpc-status", "16"), ("grpc-message", quote(error.details(), safe=printable))]
    trailers += [
        (name, b64encode(value).decode() if name.endswith("-bin") else value)
        for name, value in error.trailing_metadata()
    ]
    return sum(len(name) + len(value) + 32 for name, value in trailers)


LONG = ["\U0001f600" * 1000] * 100
LEAST = range(-(2**31), -(2**31) + 1000)


@pytest.mark.parametrize(
    "rejected",
    [
        pytest.param(
            lambda p: p.client_types.CreateClientType(
                client_type_pb2.CreateClientTypeRequest(
                    provider_id=create(p, type=provider_pb2.PROVIDER_TYPE_OKTA).id,
                    client_type=client_type_pb2.ClientType(
                        name="\U0001f600" * 256,
                        description="d" * 4097,
                        response_types=LEAST,  # type: ignore[arg-type]
                        grant_types=LEAST,  # type: ignore[arg-type]
                        token_endpoint_auth_method=-(2**31),  # type: ignore[arg-type]
                        okta_app_type=-(2**31),  # type: ignore[arg-type]
                    ),
                )
            ),
            id="numbers of no enum in every field",
        ),
        pytest.param(
            lambda p: p.client_types.UpdateClientType(
                client_type_pb2.UpdateClientTypeRequest(
                    client_type=client_type_pb2.ClientType(id=1, provider_id=1),
                    update_mask=FieldMask(paths=LONG),
                )
            ),
            id="a mask of long unknown fields",
        ),
        pytest.param(
            lambda p: p.providers.ListProviders(
                provider_pb2.ListProvidersRequest(filter="'" + "\U0001f600" * 2000 + "' = x")
            ),
            id="a filter of one long word",
        ),
        pytest.param(
            lambda p: create(
                p,
                name="\U0001f600" * 1000,
                type=-(2**31),
                well_known_uri="\U0001f600" * 4000,
                registration_access_token="\U0001f600" * 5000,
            ),
            id="every field of a provider",
        ),
    ],
)
def test_an_error_is_under_the_8_kib_that_clients_accept(
    portal: Portal, rejected: Callable[[Portal], object]
) -> None:
    error = error_of(lambda: rejected(portal))

    assert Rejection(error).violations
    assert wire_size(error) < 8192
