"""What goes wrong around a call, and what its caller and the log are told."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from conftest import Portal, serve
from details import Refusal
from portal.oauth.v1 import client_type_pb2, provider_pb2
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from postgres import running_postgres

CREATE = "/portal.oauth.v1.ProviderService/CreateProvider"


def call(portal: Portal, path: str, message: bytes) -> object:
    """Call a method with these very bytes."""
    raw: Any = portal.channel.unary_unary(path)
    return raw(message)


@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x05ab", b"\x0a\x04\x1a\x02\xff\xfe"])
def test_bytes_that_are_no_message_are_an_invalid_argument(portal: Portal, message: bytes) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(portal, CREATE, message)
    refusal = Refusal(error.value)

    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ["request"]


def test_a_method_that_there_is_not_is_unimplemented(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(portal, "/portal.oauth.v1.ProviderService/Nope", b"")

    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_that_is_too_big_is_refused(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as error:
        call(portal, CREATE, b"\x0a" * (2 << 20))

    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_bug_is_internal_without_its_text_and_the_log_has_all_of_it(
    portal: Portal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(tmp_path / "served.db") as behind_its_back:
        behind_its_back.execute("ALTER TABLE provider RENAME COLUMN name TO eman")
    behind_its_back.close()
    with caplog.at_level(logging.INFO), pytest.raises(grpc.RpcError) as error:
        portal.providers.GetProvider(provider_pb2.GetProviderRequest(id=1))
    refusal = Refusal(error.value)

    assert refusal.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
    assert "column" not in str(error.value)
    assert "no such column" in caplog.text


def test_an_exception_is_internal_under_a_number_that_the_log_has(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_self: object, _id: int) -> None:
        raise RuntimeError("s3cr3t detail")

    monkeypatch.setattr("portal_server.catalog.Catalog.get_provider", broken)
    with caplog.at_level(logging.INFO), pytest.raises(grpc.RpcError) as error:
        portal.providers.GetProvider(provider_pb2.GetProviderRequest(id=1))
    refusal = Refusal(error.value)

    assert refusal.code == grpc.StatusCode.INTERNAL
    assert refusal.reason == "INTERNAL"
    assert "s3cr3t" not in str(error.value)
    assert refusal.metadata["error"] in refusal.message
    assert refusal.metadata["error"] in caplog.text
    assert "RuntimeError: s3cr3t detail" in caplog.text
    assert "Traceback" in caplog.text


def test_a_database_that_is_away_is_unavailable_and_comes_back_without_a_restart() -> None:
    with running_postgres() as cluster, serve(cluster.url()) as portal:
        before = list_providers(portal.providers)
        cluster.stop()
        with pytest.raises(grpc.RpcError) as error:
            list_providers(portal.providers)
        cluster.start()
        after = list_providers(portal.providers)
    refusal = Refusal(error.value)

    assert refusal.code == grpc.StatusCode.UNAVAILABLE
    assert refusal.reason == "STORAGE_UNAVAILABLE"
    assert before == after


def list_providers(stub: ProviderServiceStub) -> provider_pb2.ListProvidersResponse:
    return stub.ListProviders(provider_pb2.ListProvidersRequest())


def test_the_worst_refusal_arrives_whole(portal: Portal) -> None:
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

    assert set(Refusal(error.value).fields) == {
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


def test_deleting_answers_empty(portal: Portal) -> None:
    draft = provider_pb2.Provider(
        name="p", type=provider_pb2.PROVIDER_TYPE_OKTA, well_known_uri="https://idp.test/"
    )
    made = portal.providers.CreateProvider(provider_pb2.CreateProviderRequest(provider=draft))
    answer = portal.providers.DeleteProvider(provider_pb2.DeleteProviderRequest(id=made.id))

    assert answer == Empty()
