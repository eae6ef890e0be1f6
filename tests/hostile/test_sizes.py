"""Requests of odd sizes cost Envoy little, however they are made."""

import random
import time
from collections.abc import Callable

import pytest

from tests.hostile.http2 import Connection, http
from tests.hostile.system import API, System, cpu_seconds

CPU_SECONDS = 0.05

# What rest.lua and the transcoder look for in a text, again and again.
_TEXTS: dict[str, Callable[[int], str]] = {
    "letters": lambda size: "a" * size,
    "digits": lambda size: "1" * size,
    "signs": lambda size: "_" * size,
    "brackets": lambda size: "[" * size,
    "quotes": lambda size: "%22" * (size // 3),
    "backslashes": lambda size: "%5C" * (size // 3),
    "colons": lambda size: "a:" * (size // 2),
    "invalid value": lambda size: ("a:%20invalid%20value%20" * size)[:size],
    "for type": lambda size: ("%20for%20type%20TYPE_INT64" * size)[:size],
    "could not find": lambda size: ("Could%20not%20find%20field%20%5C%22" * size)[:size],
    "oneof": lambda size: ("oneof%20field%20%27_" * size)[:size],
    "scalar": lambda size: ("object%20on%20a%20scalar%20field%20for%20type%20" * size)[:size],
}

PLACES: dict[str, Callable[[str], str]] = {
    "query name": lambda text: f"{API}?{text}=1",
    "query name without a value": lambda text: f"{API}?{text}",
    "query value": lambda text: f"{API}?per_page={text}",
    "many parameters": lambda text: (
        f"{API}?" + "&".join(text[at : at + 3] for at in range(0, len(text), 3))
    ),
    "path": lambda text: f"/{text}",
    "id": lambda text: f"{API}/{text}",
    "second id": lambda text: f"{API}/1/client-types/{text}",
    "many segments": lambda text: (
        API + "/" + "/".join(text[at : at + 3] for at in range(0, len(text), 3))
    ),
}


@pytest.mark.parametrize("text", _TEXTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_long_text_costs_envoy_little(one: System, place: str, text: str) -> None:
    costs = {}
    for size in (1000, 10_000, 58_000):
        path = PLACES[place](_TEXTS[text](size))[:58_500]
        before = cpu_seconds(one.envoy)
        with Connection(one.stack.http_port) as connection:
            found = connection.call(http("GET", path, key=one.viewer), seconds=30)
        costs[size] = cpu_seconds(one.envoy) - before
        # What no path may hold closes the connection.
        assert found.status in {200, 400, 404, 414, 431} or connection.closed or found.over
    # One tick of the clock is 10 ms.
    assert max(costs.values()) <= CPU_SECONDS, costs


@pytest.mark.parametrize(
    "name", ["x-long", "cookie", "idempotency-key", "if-match", "content-type", "authorization"]
)
@pytest.mark.parametrize(
    "text", ["a", " ", ";", "charset=", "charset ", '"', "\\", "application/json;"]
)
def test_a_long_header_costs_envoy_little(one: System, port: str, name: str, text: str) -> None:
    before = cpu_seconds(one.envoy)
    value = (
        "application/json;" + (text * 57_000)[:57_000]
        if name == "content-type"
        else (text * 57_000)[:57_000] + "x"
    )
    with Connection(one.ports[port]) as connection:
        connection.call(http("POST", API, (name, value), key=None), b"{}", seconds=10)

    assert cpu_seconds(one.envoy) - before <= CPU_SECONDS


MIB = 1 << 20
BODIES: dict[str, Callable[[], bytes]] = {
    "brackets": lambda: b"[" * MIB,
    "objects": lambda: b'{"a":' * (MIB // 5),
    "deep": lambda: b'{"a":' * 900 + b"1" + b"}" * 900,
    "deeper": lambda: b'{"Name":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number": lambda: b'{"Name":' + b"1" * (MIB - 20) + b"}",
    "keys": lambda: b"{" + b",".join(b'"k%d":1' % at for at in range(70_000)) + b"}",
    "the same key": lambda: b"{" + b",".join([b'"Name":"a"'] * 90_000) + b"}",
    "blanks": lambda: b" " * MIB,
    "blanks in an object": lambda: b'{"Name"' + b" " * (MIB - 20) + b':"a"}',
    "quotes": lambda: b'{"Name":"' + b'\\"' * (MIB // 2 - 20) + b'"}',
    "a key and brackets": lambda: b'{"Name":' + b'"x":[' * (MIB // 5 - 10),
    "letters before a colon": lambda: b'{"' + b"a" * (MIB - 40) + b'":[]}',
    "escapes": lambda: b'{"Name":"' + b"\\u0041" * (MIB // 6 - 20) + b'"}',
    "a text": lambda: b'{"SSLInsecureSkipVerify":"' + b"a" * (MIB - 40) + b'"}',
    "NULs": lambda: bytes(MIB),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_large_body_costs_envoy_little(one: System, port: str, name: str) -> None:
    body = BODIES[name]()[:MIB]
    headers = {"Content-Type": "application/json"}
    costs = []
    # The least of three: Envoy also asks the servers for their health at the same time.
    for _ in range(3):
        before = cpu_seconds(one.envoy)
        found = one.call_rest(one.ports[port], "POST", content=body, headers=headers)
        costs.append(cpu_seconds(one.envoy) - before)
        assert found.status_code in {400, 413}

    assert min(costs) <= 3 * CPU_SECONDS


@pytest.mark.attack
def test_callers_notice_nothing_of_long_texts(attacked: System, seconds: float) -> None:
    until = time.monotonic() + max(seconds, 3)
    pick = random.Random(3)  # noqa: S311
    with attacked.unharmed():
        while time.monotonic() < until:
            path = pick.choice(list(PLACES.values()))(pick.choice(list(_TEXTS.values()))(58_000))
            for port in attacked.ports.values():
                with Connection(port) as connection:
                    connection.call(http("GET", path[:58_500]), seconds=1)
