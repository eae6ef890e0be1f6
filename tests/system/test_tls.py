"""`portal up` with TLS: what it says, what it serves, and a certificate that changes under load."""

import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from portal_client import Portal, Tls
from portal_server.run import probe
from tests.clients.command import Command
from tests.support.certificates import Authority, Files, write
from tests.support.postgres import free_port
from tests.support.stack import ADMIN_KEY, Stack, portal, soon


class Secured:
    """A system with mutual TLS and a direct port; its files are as Kubernetes mounts them."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca")
        self.client = self.authority.issue("client", "client.test")
        self.mount = folder / "mount"
        self.mount.mkdir()
        self.put("first", self.authority.issue("first"))
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (self.mount / name).symlink_to(f"..data/{name}")
        self.direct = free_port()
        self.stack = Stack(
            folder,
            PORTAL_TLS_CERT=str(self.mount / "tls.crt"),
            PORTAL_TLS_KEY=str(self.mount / "tls.key"),
            PORTAL_TLS_CLIENT_CA=str(self.mount / "ca.crt"),
            PORTAL_DIRECT_GRPC_PORT=str(self.direct),
        )

    def put(self, name: str, files: Files) -> None:
        """Replace all files at once, as kubelet does: rename a link to a new folder."""
        folder = self.mount / f"..{name}"
        folder.mkdir()
        write(folder / "tls.crt", files.cert.read_bytes())
        write(folder / "tls.key", files.key.read_bytes())
        write(folder / "ca.crt", self.authority.file.read_bytes())
        (self.mount / "..data_tmp").symlink_to(folder.name)
        os.rename(self.mount / "..data_tmp", self.mount / "..data")  # noqa: PTH104

    @property
    def ports(self) -> tuple[int, int, int]:
        return self.stack.http_port, self.stack.grpc_port, self.direct

    @property
    def url(self) -> str:
        return f"https://localhost:{self.stack.http_port}"

    @property
    def tls(self) -> Tls:
        cert, key = self.client
        return Tls(ca=self.authority.file, certificate=cert, private_key=key)

    def served(self, port: int) -> bytes:
        """The certificate on a port."""
        context = self.authority.context(self.client)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("localhost", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert(binary_form=True) or b""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    system = Secured(tmp_path_factory.mktemp("secured"))
    system.stack.start()
    yield system
    system.stack.stop()


def test_the_banner_and_its_examples_say_https(secured: Secured) -> None:
    text = secured.stack.out.read_text()

    assert f"REST       {secured.url}/portal-api\n" in text
    assert f"gRPC       localhost:{secured.stack.grpc_port} with TLS\n" in text
    assert f"Docs       {secured.url}/docs\n" in text
    assert "curl --cert CLIENT.pem --key CLIENT.key --request POST" in text
    assert "grpcurl -cert CLIENT.pem -key CLIENT.key -H" in text
    assert "http://localhost:" not in text.replace("http://localhost:8080", "")


def test_rest_the_documentation_and_the_probes_are_served_over_tls(secured: Secured) -> None:
    context = secured.authority.context(secured.client)
    with httpx.Client(base_url=secured.url, verify=context) as client:
        client.headers["Authorization"] = ADMIN_KEY
        created = client.post(
            "/portal-api/oauth-providers/1/client-types",
            json={"Name": "x", "ResponseTypes": "code", "GrantType": "pkce"},
        )
        paths = ("/docs", "/openapi.json", "/livez", "/readyz", "/portal-api/oauth-providers")
        statuses = [client.get(path, follow_redirects=True).status_code for path in paths]

    assert created.status_code == 200
    assert statuses == [200] * len(paths)


def test_the_probe_of_containers_uses_tls(secured: Secured) -> None:
    cert = {"PORTAL_CERT": str(secured.client.cert), "PORTAL_CERT_KEY": str(secured.client.key)}
    settings = secured.stack.settings

    assert probe.main("/livez", settings) == 0
    assert probe.main("/readyz", settings) == 1
    assert probe.main("/readyz", settings | cert) == 0
    assert probe.main("/nothing", settings | cert) == 1
    assert probe.main("/livez", settings | {"PORTAL_HTTP_PORT": str(free_port())}) == 1


def test_the_command_line_uses_a_client_certificate_of_options_and_of_a_context(
    secured: Secured, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "PORTAL_KEY": ADMIN_KEY}
    cert = ("--cert", str(secured.client.cert), "--cert-key", str(secured.client.key))
    ca = ("--ca", str(secured.authority.file))
    for port in secured.ports[1:]:
        target = f"localhost:{port}"
        command = Command(target, **home)
        assert command.json("status", *ca, *cert)["tls"] is True
        assert "requires a client certificate" in command("status", *ca, code=69).stderr
    expired = secured.authority.issue("expired", days=-1, age_days=9)
    cert_of_option = ("--cert", str(expired.cert), "--cert-key", str(expired.key))
    rejected = Command(f"localhost:{secured.stack.grpc_port}", **home)(
        "status", *ca, *cert_of_option, code=69
    )
    assert f"certificate {expired.cert} (certificate_expired)" in rejected.stderr
    Command(target, **home)(
        "contexts", "set", "far", "--target", target, *ca, *cert, "--key-file", "-", stdin=ADMIN_KEY
    )

    assert Command("", **home, PORTAL_CONTEXT="far").json("status")["reachable"] is True


def test_a_swapped_certificate_is_served_on_every_port_and_no_call_fails(
    secured: Secured,
) -> None:
    stop, failed, done = threading.Event(), [], [0] * 3
    context = secured.authority.context(secured.client)

    def again(number: int, call: Callable[[], Any]) -> None:
        while not stop.is_set():
            try:
                call()
                done[number] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is
                failed.append(error)

    def rest() -> None:
        path = f"{secured.url}/portal-api/oauth-providers"
        httpx.get(path, verify=context, headers={"Authorization": ADMIN_KEY}).raise_for_status()

    def native(port: int) -> None:
        with Portal(f"localhost:{port}", key=ADMIN_KEY, tls=secured.tls) as client:
            client.get_provider(1)

    calls: list[Callable[[], Any]] = [
        rest,
        lambda: native(secured.stack.grpc_port),
        lambda: native(secured.direct),
    ]
    threads = [threading.Thread(target=again, args=one) for one in enumerate(calls)]
    for thread in threads:
        thread.start()
    try:
        before = {secured.served(port) for port in secured.ports}
        secured.put("second", secured.authority.issue("second"))
        start = time.monotonic()
        while any(secured.served(port) in before for port in secured.ports):
            assert time.monotonic() - start < 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert not failed
    assert min(done) > 3


def test_a_bad_certificate_is_in_the_log_and_the_old_one_stays_also_after_a_restart(
    secured: Secured,
) -> None:
    before = [secured.served(port) for port in secured.ports]
    other = secured.authority.issue("other")
    secured.put("bad", Files(secured.authority.issue("cert").cert, other.key))
    text = "is not the key of the first certificate in PORTAL_TLS_CERT. The ports keep"
    assert soon(lambda: text in secured.stack.err.read_text(), 10)
    [envoy] = secured.stack.children()["envoy"]
    servers = secured.stack.children()["server"]
    for process in (envoy, *servers):
        os.kill(process, 9)

    def again() -> bool:
        now = secured.stack.children()
        return bool(now["envoy"] and now["server"]) and not {envoy, *servers} & {
            *now["envoy"],
            *now["server"],
        }

    assert soon(again, 20)

    def serves() -> bool:
        try:
            with Portal(secured_target, key=ADMIN_KEY, tls=secured.tls, timeout=1) as client:
                return client.get_provider(1).id == 1
        except Exception:  # noqa: BLE001 - not yet
            return False

    for port in secured.ports[1:]:
        secured_target = f"localhost:{port}"
        assert soon(serves, 30)
    assert [secured.served(port) for port in secured.ports] == before
    secured.put("good", other)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"PORTAL_TLS_KEY": ""}, "PORTAL_TLS_KEY: is not set; TLS needs a certificate and its"),
        ({"PORTAL_TLS_CERT": ""}, "PORTAL_TLS_CERT: is not set; TLS needs a certificate and its"),
        ({"PORTAL_TLS_KEY": "/nothing"}, "PORTAL_TLS_KEY: /nothing: No such file or directory"),
        (
            {"PORTAL_TLS_CERT": "", "PORTAL_TLS_KEY": "", "PORTAL_TLS_CLIENT_CA": "/nothing"},
            "PORTAL_TLS_CLIENT_CA: needs PORTAL_TLS_CERT and PORTAL_TLS_KEY",
        ),
        (
            {"PORTAL_TLS_CERT": "", "PORTAL_TLS_KEY": "", "PORTAL_HOST": "0.0.0.0"},  # noqa: S104
            (
                "PORTAL_HOST: 0.0.0.0 is not a loopback address, and API keys and secrets would"
                " cross the network in plain text: set PORTAL_TLS_CERT and PORTAL_TLS_KEY, or"
                " PORTAL_INSECURE=true if a proxy in front of the ports uses TLS"
            ),
        ),
    ],
)
def test_a_start_that_tls_prevents_is_one_line(
    tmp_path: Path, settings: dict[str, str], error: str
) -> None:
    stack = Stack(tmp_path)
    done = portal("up", **stack.settings, **(Authority(tmp_path).issue().settings | settings))

    assert done.returncode == 1
    assert done.stderr.startswith(f"portal: {error}")
    assert done.stderr.count("\n") == 1


def test_a_development_certificate_works_as_it_says(tmp_path: Path) -> None:
    made = portal("tls", "dev-certificate", "--folder", str(tmp_path / "tls"), "--name", "p.test")
    again = portal("tls", "dev-certificate", "--folder", str(tmp_path / "tls"))
    files = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "tls").iterdir()}
    exported = dict(re.findall(r"(PORTAL_\w+)=(\S+)", made.stdout))
    client = {name: exported.pop(name) for name in ("PORTAL_CA", "PORTAL_CERT", "PORTAL_CERT_KEY")}
    stack = Stack(tmp_path, **exported).start()
    try:
        tls = Tls(
            ca=client["PORTAL_CA"],
            certificate=client["PORTAL_CERT"],
            private_key=client["PORTAL_CERT_KEY"],
        )
        for name in ("localhost", "127.0.0.1"):
            with Portal(f"{name}:{stack.grpc_port}", key=ADMIN_KEY, tls=tls) as opened:
                assert opened.get_provider(1).id == 1
        # The certificate of the server is not one of a client.
        context = ssl.create_default_context(cafile=client["PORTAL_CA"])
        context.load_cert_chain(exported["PORTAL_TLS_CERT"], exported["PORTAL_TLS_KEY"])
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://localhost:{stack.http_port}/livez", verify=context)
        shown = stack.out.read_text()
    finally:
        stack.stop()

    assert made.returncode == 0, made.stderr
    assert (
        again.stderr
        == f"portal: {tmp_path}/tls/ca.pem exists: delete it, or choose another folder\n"
    )
    assert files == dict.fromkeys(files, 0o600)
    assert len(files) == 5
    assert f"curl --cacert {client['PORTAL_CA']} --cert CLIENT.pem" in shown
