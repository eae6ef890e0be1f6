"""A clock that is set back by an hour while the server runs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from tests.conftest import with_key
from tests.crash.load import OwnServer, add_provider
from tests.support.catalog import KEYS
from tests.support.stack import ADMIN_KEY, portal, soon

pytestmark = [pytest.mark.slow, pytest.mark.needs("faketime")]

HOUR = 3600


class Clock:
    """The clock of a server, which a test moves."""

    def __init__(self, file: Path) -> None:
        self._file = file
        [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Set it to the real time and this many seconds."""
        self._file.write_text(f"{seconds:+}\n")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def server(database_url: str, clock: Clock) -> Iterator[OwnServer]:
    clock.set(HOUR)
    own = OwnServer(database_url, **clock.environment)
    own.start()
    yield own
    # libfaketime makes Python's timed waits at the end of the process fail.
    own.end(signal.SIGKILL)


def draft(name: str) -> pb.ClientType:
    return pb.ClientType(
        name=name,
        response_types=[pb.RESPONSE_TYPE_CODE],
        grant_types=[pb.GRANT_TYPE_AUTHORIZATION_CODE],
    )


def test_etags_times_and_retries_survive_a_clock_that_is_set_back(
    server: OwnServer, clock: Clock, database_url: str
) -> None:
    add_provider(server.target)
    with grpc.insecure_channel(server.target) as channel:
        stub = ClientTypeServiceStub(with_key(channel, ADMIN_KEY))

        def create(name: str, request_id: str = "") -> pb.ClientType:
            request = pb.CreateClientTypeRequest(
                provider_id=1, client_type=draft(name), request_id=request_id
            )
            created: pb.ClientType = stub.CreateClientType(request)
            created.ClearField("findings")  # a retry has none
            return created

        def rename(before: pb.ClientType, name: str) -> pb.ClientType:
            changed = draft(name)
            changed.id, changed.provider_id, changed.etag = before.id, 1, before.etag
            request = pb.UpdateClientTypeRequest(client_type=changed)
            updated: pb.ClientType = stub.UpdateClientType(request)
            return updated

        first = create("first", "retry")
        second = rename(first, "second")
        clock.set(0)
        back = second.update_time.seconds - HOUR // 2
        assert soon(lambda: create("moved").create_time.seconds < back, 10)
        again = create("first", "retry")
        third = rename(second, "third")
        fourth = rename(third, "fourth")
        with pytest.raises(grpc.RpcError) as outdated:
            rename(second, "fifth")
        newer = create("newer", "retry after")

        assert again == first
        assert create("newer", "retry after") == newer
        assert len({one.etag for one in (first, second, third, fourth)}) == 4
        times = [one.update_time.ToNanoseconds() for one in (first, second, third, fourth)]
        assert times == sorted(set(times))
        assert outdated.value.code() is grpc.StatusCode.ABORTED
    checked = portal(
        "check", PORTAL_DATABASE_URL=database_url, PORTAL_ENCRYPTION_KEYS=KEYS.get_secret_value()
    )

    assert checked.returncode == 0, checked.stdout
