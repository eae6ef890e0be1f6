"""TLS handshakes that strangers begin and do not finish keep nobody else out."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.hostile.http1 import Tcp
from tests.hostile.sockets import ADDRESSES
from tests.hostile.system import cpu_seconds, rss_mib
from tests.support.certificates import Authority
from tests.support.own_envoy import Door, door, until

CONNECTIONS = 1000


def hello(context: ssl.SSLContext) -> bytes:
    """A whole ClientHello, as a client sends it."""
    sent = ssl.MemoryBIO()
    half = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    return sent.read()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Door]:
    """An Envoy with mutual TLS and a low limit of connections."""
    files = authority.issue()
    folder: Path = tmp_path_factory.mktemp("run")
    with door(
        folder,
        CONNECTIONS,
        tls_cert=files.cert,
        tls_key=files.key,
        tls_client_ca=authority.file,
    ) as running:
        yield running


@pytest.mark.attack
def test_unfinished_handshakes_block_no_caller(
    mutual: Door, authority: Authority, seconds: float
) -> None:
    whole = hello(authority.context())
    openings = (b"", whole[: len(whole) // 2], whole)
    known = authority.context(authority.issue("client", "client.test"))
    before = rss_mib(mutual.process.pid)
    held: list[Tcp] = []
    times: list[float] = []

    def hold() -> None:
        """Open again what is closed, up to the limit of connections."""
        held[:] = [one for one in held if not one.closed]
        for at in range(CONNECTIONS - len(held)):
            port = (mutual.http_port, mutual.grpc_port)[at % 2]
            held.append(one := Tcp(port, ADDRESSES[at // 2 % len(ADDRESSES)]))
            one.send(openings[at // 2 % len(openings)])

    hold()
    # The more connections there are, the sooner Envoy closes those that wait.
    time.sleep(1.5)
    end = time.monotonic() + max(seconds, 4)
    while time.monotonic() < end:
        hold()
        for one in held:
            one.read(0.0001)
        start = time.monotonic()
        url = f"https://localhost:{mutual.http_port}/livez"
        assert httpx.get(url, verify=known).status_code == 200
        times.append(time.monotonic() - start)
    for one in held:
        one.close()

    assert max(times) < 1
    until(lambda: rss_mib(mutual.process.pid) < before + 24, 30)


@pytest.mark.attack
def test_handshakes_without_a_client_certificate_cost_little(
    mutual: Door, authority: Authority
) -> None:
    stranger = authority.context()
    before, number = cpu_seconds(mutual.process.pid), 200
    for _ in range(number):
        with (
            socket.create_connection(("localhost", mutual.grpc_port), 5) as plain,
            stranger.wrap_socket(plain, server_hostname="localhost") as connection,
            pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
        ):
            connection.recv(1)

    assert (cpu_seconds(mutual.process.pid) - before) / number < 0.005
