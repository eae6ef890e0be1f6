"""Which addresses are connected to."""

import socket
import threading
from typing import Any

import pytest

from portal_server.domain.errors import NotSent, Reason
from portal_server.idp.addresses import address_problem
from portal_server.idp.registrar import Registrar
from tests.idp.conftest import access_to
from tests.support.providers.scripted import Scripted, http

NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::ffff:0:169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::",
    "2001:db8::5efe:a9fe:a9fe",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",  # noqa: S104 - it is rejected
    "0.1.2.3",
    "::",
    "::ffff:0.0.0.0",
    "255.255.255.255",
    "240.0.0.1",
]
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fc00::1",
    "fd12::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]
PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]


@pytest.mark.parametrize("address", NEVER)
def test_an_address_that_no_provider_has_is_never_allowed(address: str) -> None:
    assert address_problem(address, allow_private=True)
    assert address_problem(address, allow_private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_needs_a_setting(address: str) -> None:
    assert address_problem(address, allow_private=False) == "a loopback or private address"
    assert address_problem(address, allow_private=True) == ""


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert address_problem(address, allow_private=False) == ""


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_no_spelling_of_a_private_address_is_connected_to(provider: Scripted, host: str) -> None:
    registrar = Registrar(allow_private=False)
    with pytest.raises(NotSent) as caught:
        registrar.discover(access_to(f"http://{host}:{provider.port}/.well-known/x"))
    assert caught.value.reason is Reason.PROVIDER_ADDRESS_NOT_ALLOWED
    assert "unless its operator allows private addresses" in caught.value.message
    assert provider.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_a_metadata_address_is_not_connected_to(registrar: Registrar, host: str) -> None:
    with pytest.raises(NotSent) as caught:
        registrar.discover(access_to(f"http://{host}/.well-known/x"))
    assert caught.value.reason is Reason.PROVIDER_ADDRESS_NOT_ALLOWED
    assert "unless" not in caught.value.message


def resolving(monkeypatch: pytest.MonkeyPatch, *results: list[str]) -> list[str]:
    """Have names resolve to these addresses, one list after the other; returns the names."""
    names: list[str] = []
    original = socket.getaddrinfo

    def resolve(host: str, port: int, **more: Any) -> Any:
        if not host.endswith(".example"):
            return original(host, port, **more)
        addresses = results[min(len(names), len(results) - 1)]
        names.append(host)
        return [
            (
                socket.AF_INET6 if ":" in each else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (each, port, 0, 0) if ":" in each else (each, port),
            )
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


def test_a_name_is_resolved_once_so_that_it_cannot_change_after_the_check(
    registrar: Registrar, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    host = f"http://idp.example:{provider.port}"
    found = registrar.discover(access_to(f"{host}/.well-known/openid-configuration"))
    assert found.issuer == provider.url
    assert names == ["idp.example"]
    assert provider.seen[0].headers["host"] == f"idp.example:{provider.port}"


def test_only_the_allowed_addresses_of_a_name_are_used(
    registrar: Registrar, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ["169.254.169.254", "127.0.0.1"])
    host = f"http://idp.example:{provider.port}"
    registrar.discover(access_to(f"{host}/.well-known/openid-configuration"))


def test_the_next_address_is_tried_if_one_does_not_respond(
    registrar: Registrar, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ["::1", "127.0.0.1"])
    host = f"http://idp.example:{provider.port}"
    registrar.discover(access_to(f"{host}/.well-known/openid-configuration"))


def test_a_redirect_does_not_lead_to_a_metadata_address(
    registrar: Registrar, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    path = "/.well-known/openid-configuration"
    host = f"http://idp.example:{provider.port}"
    provider.responses[path] = http(302, {}, {"Location": f"{host}/again"})
    with pytest.raises(NotSent) as caught:
        registrar.discover(access_to(host + path))
    assert caught.value.reason is Reason.PROVIDER_ADDRESS_NOT_ALLOWED


def test_a_resolver_that_does_not_respond_is_given_up(
    hasty: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        done.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(NotSent) as caught:
        hasty.discover(access_to("http://idp.example/.well-known/x"))
    done.set()
    assert caught.value.reason is Reason.PROVIDER_UNREACHABLE
    assert "too long" in caught.value.message
