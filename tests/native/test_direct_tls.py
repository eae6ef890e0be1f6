"""TLS and mutual TLS on the direct port of a server."""

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc.experimental import session_cache
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from pydantic import SecretStr

from portal.oauth.v1.provider_pb2 import ListProvidersRequest
from portal.oauth.v1.provider_pb2_grpc import ProviderServiceStub
from portal_client import DeadlineExceeded, Portal, Tls, Unavailable
from portal_server.run.certificates import CertificateError
from portal_server.run.server import Server
from portal_server.run.settings import SettingsError
from tests.conftest import with_key
from tests.support.certificates import Authority, Files, swap
from tests.support.databases import new_sqlite
from tests.support.details import Rejection
from tests.support.own_envoy import until
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.stack import ENVIRONMENT, ROOT, listening

KEY = "the-key-of-these-tests"
LIFETIME_S = 4
CONNECTIONS, AT_ONCE = 4000, 40


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_sqlite(tmp_path_factory.mktemp("data") / "p.db")


@pytest.fixture(scope="module")
def files(authority: Authority) -> Files:
    return authority.issue()


@pytest.fixture(scope="module")
def port(url: str, files: Files) -> Iterator[int]:
    settings = {"tls_cert": files.cert, "tls_key": files.key}
    with started(url, admin_key=SecretStr(KEY), **settings) as server:
        yield server.port


@pytest.fixture(scope="module")
def mutual(url: str, files: Files, authority: Authority) -> Iterator[int]:
    settings = {"tls_cert": files.cert, "tls_key": files.key, "tls_client_ca": authority.file}
    with started(url, admin_key=SecretStr(KEY), **settings) as server:
        yield server.port


def call(port: int, tls: Tls | None) -> int:
    """The number of providers."""
    with Portal(f"localhost:{port}", key=KEY, tls=tls or False, timeout=3) as portal:
        return len(list(portal.list_providers()))


def list_providers(channel: grpc.Channel) -> object:
    stub = ProviderServiceStub(with_key(channel, KEY))
    return stub.ListProviders(ListProvidersRequest(), timeout=5)


def reflect(channel: grpc.Channel) -> object:
    stub: Any = ServerReflectionStub(with_key(channel, KEY))
    requests = iter([ServerReflectionRequest(list_services="")])
    return next(stub.ServerReflectionInfo(requests, timeout=5))


def first_name(port: int, authority: Authority) -> str:
    context = authority.context()
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("localhost", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"
        return str((connection.getpeercert() or {})["subjectAltName"][0][1])


def test_calls_use_tls_and_plain_text_is_rejected(port: int, authority: Authority) -> None:
    assert call(port, Tls(ca=authority.file)) == 0
    with pytest.raises(Unavailable):
        call(port, None)


@pytest.mark.filterwarnings("ignore:.*TLSv1.*deprecated:DeprecationWarning")
def test_old_versions_are_rejected(port: int, authority: Authority) -> None:
    context = authority.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("localhost", port), 5) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_with_mutual_tls_a_client_needs_a_certificate_of_the_ca(
    mutual: int, authority: Authority, tmp_path: Path
) -> None:
    own = authority.issue("client", "client.test")
    other = Authority(tmp_path).issue("client")
    expired = authority.issue("expired", days=-1, age_days=9)
    ca = authority.file

    assert call(mutual, Tls(ca=ca, certificate=own.cert, private_key=own.key)) == 0
    for tls in (
        Tls(ca=ca),
        Tls(ca=ca, certificate=other.cert, private_key=other.key),
        Tls(ca=ca, certificate=expired.cert, private_key=expired.key),
    ):
        with pytest.raises((Unavailable, DeadlineExceeded)):
            call(mutual, tls)


@pytest.mark.parametrize("kind", ["intermediate CA", "client certificate"])
def test_clients_of_an_intermediate_ca_or_of_one_certificate_can_be_accepted(
    url: str, files: Files, authority: Authority, tmp_path: Path, kind: str
) -> None:
    root = Authority(tmp_path / "root")
    other = Authority(tmp_path / "other", parent=root if kind == "intermediate CA" else None)
    client = other.issue("client")
    trusted = client.cert if kind == "client certificate" else other.file
    settings = {"tls_cert": files.cert, "tls_key": files.key, "tls_client_ca": trusted}
    with started(url, admin_key=SecretStr(KEY), **settings) as server:
        tls = Tls(ca=authority.file, certificate=client.cert, private_key=client.key)
        assert call(server.port, tls) == 0


def test_an_expired_certificate_is_rejected_on_open_connections_and_resumed_sessions(
    mutual: int, authority: Authority
) -> None:
    """TLS checks it only when a session begins."""
    ends = time.monotonic() + LIFETIME_S
    own = authority.issue("brief", "client.test", days=LIFETIME_S / 86_400)
    files = (authority.file, own.key, own.cert)
    credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
    cache: Any = session_cache.ssl_session_cache_lru
    options = [
        ("grpc.ssl_session_cache", cache(1)),
        ("grpc.use_local_subchannel_pool", 1),
    ]

    def open_channel(options: Any = options) -> grpc.Channel:
        return grpc.secure_channel(f"localhost:{mutual}", credentials, options)

    def code_of(call: Callable[[grpc.Channel], object], channel: grpc.Channel) -> grpc.StatusCode:
        with pytest.raises(grpc.RpcError) as error:
            call(channel)
        return error.value.code()

    with open_channel() as first:
        list_providers(first)
        time.sleep(ends + 1 - time.monotonic())
        with open_channel() as resumed, open_channel(options[1:]) as new:
            for channel in (first, resumed):
                assert code_of(list_providers, channel) is grpc.StatusCode.UNAUTHENTICATED
                assert code_of(reflect, channel) is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.RpcError) as error:
                list_providers(resumed)
            assert Rejection(error.value).reason == "CERTIFICATE_EXPIRED"
            assert code_of(list_providers, new) is grpc.StatusCode.UNAVAILABLE


@contextmanager
def process(folder: Path, **settings: str) -> Iterator[int]:
    """The port of a server in a separate process, which logs to the file `log`."""
    port = free_port()
    settings |= {"PORTAL_DIRECT_GRPC_PORT": str(port), "PORTAL_ADMIN_KEY": KEY}
    command = [sys.executable, "-m", "portal_server", "serve"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, env=ENVIRONMENT | settings, cwd=ROOT, stderr=log)
    try:
        until(lambda: listening(port), 30)
        yield port
    finally:
        running.terminate()
        status = running.wait(30)
    assert status == 0, (folder / "log").read_text()


def test_many_connections_at_once_do_not_end_the_server(
    url: str, files: Files, authority: Authority, tmp_path: Path
) -> None:
    """Each takes a thread of gRPC through the choice of the certificate."""
    own = authority.issue("client", "client.test")
    tls = Tls(ca=authority.file, certificate=own.cert, private_key=own.key)
    settings = files.settings | {"PORTAL_TLS_CLIENT_CA": str(authority.file)}
    with process(tmp_path, PORTAL_DATABASE_URL=url, **settings) as port:
        for _ in range(CONNECTIONS // AT_ONCE):
            opened = [socket.socket() for _ in range(AT_ONCE)]
            for one in opened:
                one.settimeout(0)
                one.connect_ex(("127.0.0.1", port))
            time.sleep(0.04)
            for one in opened:
                one.close()
        assert call(port, tls) == 0


def test_a_handshake_cannot_write_to_the_log(url: str, files: Files, tmp_path: Path) -> None:
    name = b"a-name-that-is-replaced.test"
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname=name.decode()).do_handshake()
    hello = sent.read()
    assert name in hello
    with process(tmp_path, PORTAL_DATABASE_URL=url, **files.settings) as port:
        for forged in (b"\nportal.calls: a forged line".ljust(len(name)), bytes(len(name))):
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(hello.replace(name, forged[: len(name)]))
                connection.recv(100)

    text = (tmp_path / "log").read_text()
    assert text.count("\n") == 1, text
    assert "serving on" in text


def test_a_new_certificate_is_served_within_five_seconds_on_new_connections(
    port: int, authority: Authority, files: Files
) -> None:
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        check: Callable[..., Any] = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
        for name in ("one.test", "two.test"):
            swap(files, authority.issue("new", name, "localhost"))
            until(lambda name=name: first_name(port, authority) == name, 5)  # type: ignore[misc]
            assert check(health_pb2.HealthCheckRequest(), timeout=5).status == 1


def test_half_a_handshake_is_closed_after_ten_seconds(port: int) -> None:
    start = time.monotonic()
    with socket.create_connection(("localhost", port), 14) as plain:
        plain.sendall(bytes.fromhex("16030102000100") + bytes(200))
        assert plain.recv(100) == b""
    assert 9 < time.monotonic() - start < 14


def test_files_that_cannot_be_used_are_an_error_at_the_start(url: str, tmp_path: Path) -> None:
    expired = Authority(tmp_path).issue(days=-1, age_days=2)
    with (
        pytest.raises(CertificateError, match=r"^PORTAL_TLS_CERT: expired at"),
        started(url, tls_cert=expired.cert, tls_key=expired.key),
    ):
        pass


def test_without_tls_the_port_is_not_open_to_a_network(url: str) -> None:
    network = {"host": IPv4Address("0.0.0.0")}  # noqa: S104
    with pytest.raises(SettingsError, match="or PORTAL_INSECURE=true"), started(url, **network):
        pass
    with started(url, insecure=True, **network) as server:
        assert isinstance(server, Server)
