"""TLS and mutual TLS on the ports of Envoy."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import grpc
import httpx
import pytest

from tests.support.certificates import Authority, Files, swap, write
from tests.support.own_envoy import ECHO, Door, Small, door, until

# A client with the certificate of the wrong CA, or none.
REJECTED = (ssl.SSLError, ConnectionError)


class Secured:
    """An Envoy with TLS in front of a small server, and the CA."""

    def __init__(self, running: Door, authority: Authority, files: Files) -> None:
        self.door, self.authority, self.files = running, authority, files

    @property
    def ports(self) -> tuple[int, int]:
        return self.door.http_port, self.door.grpc_port

    def connect(self, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain = socket.create_connection(("localhost", port), 5)
        return context.wrap_socket(plain, server_hostname="localhost")

    def served(self, port: int, context: ssl.SSLContext | None = None) -> str:
        """The first name of the certificate on a port."""
        with self.connect(port, context or self.authority.context()) as connection:
            certificate = connection.getpeercert()
        assert certificate
        names = certificate["subjectAltName"]
        return str(names[0][1])

    def call(self, port: int, context: ssl.SSLContext | None = None) -> int:
        """The status of a request with HTTP/1.1."""
        url = f"https://localhost:{port}/livez"
        return httpx.get(url, verify=context or self.authority.context()).status_code

    def take_new(self) -> None:
        """What the supervisor does ten times a second."""
        assert self.door.certificates
        self.door.certificates.look()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    files = authority.issue()
    folder = tmp_path_factory.mktemp("run")
    with door(folder, tls_cert=files.cert, tls_key=files.key) as running:
        server = Small(folder / "small.sock")
        running.send_calls_to([server])
        yield Secured(running, authority, files)
        server.stop()


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    files = authority.issue()
    with door(
        tmp_path_factory.mktemp("run"),
        tls_cert=files.cert,
        tls_key=files.key,
        tls_client_ca=authority.file,
    ) as running:
        yield Secured(running, authority, files)


def test_both_ports_serve_http_over_tls(tls: Secured) -> None:
    assert [tls.call(port) for port in tls.ports] == [200, 200]


def test_both_ports_serve_grpc_over_tls(tls: Secured) -> None:
    credentials = grpc.ssl_channel_credentials(tls.authority.file.read_bytes())
    for port in tls.ports:
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            echo: Callable[..., bytes] = channel.unary_unary(ECHO)
            assert echo(b"", timeout=5) == b"small.sock"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["other"], None)],
)
def test_the_protocol_is_negotiated(tls: Secured, offered: list[str], chosen: str | None) -> None:
    context = tls.authority.context()
    context.set_alpn_protocols(offered)
    for port in tls.ports:
        with tls.connect(port, context) as connection:
            assert connection.selected_alpn_protocol() == chosen


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
@pytest.mark.filterwarnings("ignore:.*TLSv1.*deprecated:DeprecationWarning")
def test_only_tls_1_2_and_newer_is_served(tls: Secured, version: str, *, accepted: bool) -> None:
    context = tls.authority.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion[version]
    for port in tls.ports:
        if accepted:
            with tls.connect(port, context) as connection:
                assert connection.version() == version.replace("_", ".")
        else:
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                tls.connect(port, context)


def test_with_tls_1_2_keys_have_forward_secrecy(tls: Secured) -> None:
    context = tls.authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES256-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(REJECTED):
        tls.connect(tls.ports[0], context)


def test_plain_text_is_closed_without_a_response(tls: Secured) -> None:
    requests = (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    for port in tls.ports:
        for request in requests:
            with closing(socket.create_connection(("localhost", port), 5)) as plain:
                plain.sendall(request)
                received = plain.recv(100)

            # A TLS alert, or nothing.
            assert received[:1] in {b"", b"\x15"}
            assert b"HTTP" not in received


def test_a_new_certificate_is_served_within_five_seconds_and_no_call_fails(tls: Secured) -> None:
    stop, failed, done = threading.Event(), [], [0]

    def call(client: httpx.Client | None) -> None:
        while not stop.is_set():
            try:
                if client:
                    assert client.get("/livez").status_code == 200
                else:
                    tls.call(tls.ports[done[0] % 2])
                done[0] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is
                failed.append(error)

    url = f"https://localhost:{tls.ports[0]}"
    lasting = httpx.Client(base_url=url, verify=tls.authority.context())
    threads = [threading.Thread(target=call, args=(client,)) for client in (lasting, None, None)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(3):
            name = f"n{turn}.test"
            swap(tls.files, tls.authority.issue("next", name, "localhost"))
            start = time.monotonic()
            while {tls.served(port) for port in tls.ports} != {name}:
                assert time.monotonic() - start < 5
                tls.take_new()
                time.sleep(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        lasting.close()

    assert not failed
    assert done[0] > 20


def test_a_certificate_that_cannot_be_used_is_not_served(tls: Secured) -> None:
    before = tls.served(tls.ports[0])
    write(tls.files.cert, b"nothing")
    for _ in range(3):
        time.sleep(1.01)
        tls.take_new()

    assert [tls.served(port) for port in tls.ports] == [before, before]
    swap(tls.files, tls.authority.issue("next", "localhost"))
    time.sleep(1.01)
    tls.take_new()
    until(lambda: tls.served(tls.ports[0]) == "localhost")


def test_half_a_handshake_is_closed_after_ten_seconds(tls: Secured) -> None:
    hello = bytes.fromhex("16030102000100") + bytes(200)
    start = time.monotonic()
    held = []
    for port in tls.ports:
        for opening in (b"", hello):
            held.append(connection := socket.create_connection(("localhost", port), 13))
            connection.sendall(opening)
    for connection in held:
        assert connection.recv(100) == b""
        assert 9 < time.monotonic() - start < 13
        connection.close()


def test_with_mutual_tls_a_client_needs_a_certificate_of_the_ca(
    mutual: Secured, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other").issue("client")
    known = mutual.authority.context(mutual.authority.issue("client", "client.test"))
    for port in mutual.ports:
        assert mutual.call(port, known) == 200
        for context in (mutual.authority.context(), mutual.authority.context(stranger)):
            with pytest.raises(httpx.TransportError):
                mutual.call(port, context)


def test_with_mutual_tls_an_expired_certificate_is_rejected(mutual: Secured) -> None:
    expired = mutual.authority.issue("expired", days=-1, age_days=9)
    with pytest.raises(httpx.TransportError):
        mutual.call(mutual.ports[0], mutual.authority.context(expired))


def test_with_mutual_tls_each_connection_shows_its_certificate(
    tls: Secured, mutual: Secured
) -> None:
    """The certificate is not checked when a session is resumed; it may have expired since."""

    def resumed(own: Secured, port: int, version: ssl.TLSVersion) -> bool:
        context = own.authority.context(own.authority.issue("client", "client.test"))
        context.maximum_version = version
        with own.connect(port, context) as connection:
            # A session of TLS 1.3 arrives after the handshake.
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1)
            session = connection.session
        plain = socket.create_connection(("localhost", port), 5)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as again:
            return bool(again.session_reused)

    versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    for own, expected in ((tls, True), (mutual, False)):
        for port in own.ports:
            assert [resumed(own, port, version) for version in versions] == [expected] * 2


@pytest.mark.parametrize("kind", ["CA", "intermediate CA", "client certificate"])
def test_a_new_ca_of_clients_is_used_without_a_restart(
    mutual: Secured, tmp_path: Path, kind: str
) -> None:
    root = Authority(tmp_path / "root")
    other = Authority(tmp_path / "other", parent=root if kind == "intermediate CA" else None)
    client = other.issue("client")
    trusted = client.cert if kind == "client certificate" else other.file
    before = mutual.authority.file.read_bytes()

    def accepted(files: Files) -> bool:
        mutual.take_new()
        try:
            return mutual.call(mutual.ports[1], mutual.authority.context(files)) == 200
        except httpx.TransportError:
            return False

    assert not accepted(client)
    write(mutual.authority.file, before + trusted.read_bytes())
    until(lambda: accepted(client), 5)
    assert accepted(other.issue("another")) is (kind != "client certificate")
    write(mutual.authority.file, before)
    until(lambda: not accepted(client), 5)
