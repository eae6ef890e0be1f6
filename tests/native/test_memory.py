"""What a call leaves behind in the server's memory."""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from grpc._server import _Context

from portal.oauth.v1 import client_type_pb2, provider_pb2
from tests.conftest import Portal


@pytest.fixture
def without_collections() -> Iterator[None]:
    """No garbage collections: what is freed is freed by its reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def contexts() -> int:
    return sum(isinstance(found, _Context) for found in gc.get_objects())


CALLS: dict[str, Callable[[Portal], object]] = {
    "a read that succeeds": lambda portal: portal.providers.ListProviders(
        provider_pb2.ListProvidersRequest()
    ),
    "a read that fails in the database": lambda portal: portal.providers.GetProvider(
        provider_pb2.GetProviderRequest(id=9)
    ),
    "a write that fails in a transaction": lambda portal: portal.providers.DeleteProvider(
        provider_pb2.DeleteProviderRequest(id=9)
    ),
    "a request with several violations": lambda portal: portal.client_types.ListClientTypes(
        client_type_pb2.ListClientTypesRequest(page_size=-1, page_token="x")  # noqa: S106
    ),
    "an invalid API key": lambda portal: portal.providers.GetProvider(
        provider_pb2.GetProviderRequest(id=9), metadata=(("authorization", "invalid"),)
    ),
}


@pytest.mark.usefixtures("without_collections")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_200_calls_leave_no_call_alive_without_a_garbage_collection(
    portal: Portal, call: Callable[[Portal], object]
) -> None:
    # Other tests of this process may still hold some.
    before = contexts()
    for _ in range(200):
        with contextlib.suppress(grpc.RpcError):
            call(portal)
    end = time.monotonic() + 5
    # gRPC frees the last call a little later than its caller has the response.
    while (alive := contexts()) > before and time.monotonic() < end:
        time.sleep(0.05)

    assert alive <= before
