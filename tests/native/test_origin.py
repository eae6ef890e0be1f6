"""The trace ID of a call on the direct port, without Envoy."""

import logging
import re

import grpc
import pytest
from google.rpc.error_details_pb2 import RequestInfo
from grpc_status import rpc_status

from portal.oauth.v1.provider_pb2 import GetProviderRequest, ListProvidersRequest
from portal_server.wire.origin import address_of
from tests.conftest import Portal

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def listed(portal: Portal, *metadata: tuple[str, str]) -> str:
    """The trace ID in the response of a call with these headers."""
    _, call = portal.providers.ListProviders.with_call(ListProvidersRequest(), metadata=metadata)
    [found] = [value for name, value in call.trailing_metadata() if name == "x-trace-id"]
    return str(found)


def test_a_response_has_the_trace_id_of_its_caller(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    assert listed(portal, ("traceparent", PARENT)) == TRACE_ID
    assert f"address=127.0.0.1 trace={TRACE_ID}" in caplog.text


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("traceparent", PARENT.upper())],
        [("traceparent", PARENT + "-x")],
        [("x-trace-id", TRACE_ID)],
    ],
    ids=["absent", "uppercase", "longer", "another header"],
)
def test_without_a_wellformed_one_the_server_generates_it(
    portal: Portal, metadata: list[tuple[str, str]]
) -> None:
    found = listed(portal, *metadata)

    assert re.fullmatch("[0-9a-f]{32}", found)
    assert found != TRACE_ID


def test_a_caller_cannot_choose_its_address(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    listed(portal, ("x-forwarded-for", "203.0.113.9"))

    assert "address=127.0.0.1" in caplog.text
    assert "203.0.113.9" not in caplog.text


def test_an_error_has_the_trace_id_in_its_details(portal: Portal) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        portal.providers.GetProvider(GetProviderRequest(id=7), metadata=(("traceparent", PARENT),))
    status = rpc_status.from_call(failed.value)  # type: ignore[arg-type]
    info = RequestInfo()

    assert status is not None
    assert status.details[-1].Unpack(info)
    assert info.request_id == TRACE_ID


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:4000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:4000", "2001:db8::1"),
        ("ipv6:[::1]:4000", "::1"),
    ],
)
def test_the_address_is_that_of_the_connection(peer: str, address: str) -> None:
    assert address_of(peer) == address
