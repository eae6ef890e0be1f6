"""Runs the example program of a language and checks its output.

Every program does the same: it creates a client type, lists all client types page by page, and
prints the errors of an invalid one.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.descriptor import EnumDescriptor

from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub
from tests.support.stack import ADMIN_KEY, ROOT

CLIENTS = ROOT / "clients"
PAGE_SIZE = 2

_SEED = pb.ClientType(
    name="Server-side application",
    description="Use this client configuration to create server-side applications that"
    " don't act on behalf of end-users",
    response_types=[pb.RESPONSE_TYPE_CODE, pb.RESPONSE_TYPE_TOKEN],
    grant_types=[
        pb.GRANT_TYPE_AUTHORIZATION_CODE,
        pb.GRANT_TYPE_REFRESH_TOKEN,
        pb.GRANT_TYPE_PASSWORD,
    ],
    token_endpoint_auth_method=pb.TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_BASIC,
    okta_app_type=pb.OKTA_APP_TYPE_WEB,
)


def _empty(enum: EnumDescriptor) -> str:
    """The error of an empty list: it names every value except UNSPECIFIED."""
    allowed = ", ".join(word.name for word in enum.values[1:])
    return f"needs at least one value; allowed: {allowed}"


# DOTALL because a name can have a line break.
_CREATED_AND_LISTED = re.compile(
    r"created (?P<id>\d+) Server-side application\n"
    r"(?P<listed>listed \d+ .*)"
    r"listed (?P=id) Server-side application\n",
    re.DOTALL,
)
_REJECTED = f"""rejected INVALID_ARGUMENT
  client_type.name: is required
  client_type.response_types: {_empty(pb.ResponseType.DESCRIPTOR)}
  client_type.grant_types: {_empty(pb.GrantType.DESCRIPTOR)}
"""


def build(command: str, folder: Path) -> str:
    """Run a shell command that must succeed; returns its output."""
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def check_stubs(folder: Path, pattern: str, scratch: Path) -> None:
    """Assert that the committed stubs in a folder are what its buf.gen.yaml generates."""
    buf = Path(sys.executable).with_name("buf")
    build(f"{buf} generate --output {scratch}", folder)
    fresh = {path.relative_to(scratch): path.read_text() for path in scratch.rglob(pattern)}
    assert fresh
    for path, text in fresh.items():
        assert (folder / path).read_text() == text
    top = {path.parts[0] for path in fresh}
    committed = {
        path.relative_to(folder) for name in top for path in (folder / name).rglob(pattern)
    }
    assert committed == fresh.keys()


def run(command: Sequence[str], folder: Path, target: str) -> str:
    """Run a program against a portal with several pages of client types; returns its output.

    Asserts that it created the seed.
    """
    with grpc.insecure_channel(target) as channel:
        stub = ClientTypeServiceStub(channel)
        metadata = (("authorization", ADMIN_KEY),)
        for _ in range(2 * PAGE_SIZE):
            stub.CreateClientType(
                pb.CreateClientTypeRequest(
                    provider_id=1,
                    client_type=pb.ClientType(
                        name="One of several pages",
                        response_types=[pb.RESPONSE_TYPE_CODE],
                        grant_types=[pb.GRANT_TYPE_PKCE],
                    ),
                ),
                metadata=metadata,
                timeout=20,
            )
        done = _start(command, folder, target, ADMIN_KEY)
        assert done.returncode == 0, done.stderr
        created = re.match(r"created (\d+) ", done.stdout)
        assert created, done.stdout
        client_type = stub.GetClientType(
            pb.GetClientTypeRequest(provider_id=1, id=int(created[1])),
            metadata=metadata,
            timeout=20,
        )
    for field in ("id", "uid", "provider_id", "create_time", "update_time", "etag"):
        client_type.ClearField(field)
    assert client_type == _SEED
    return done.stdout


def check(output: str) -> None:
    """Assert that the output of a program is correct, for any ids."""
    assert output.endswith(_REJECTED), output
    match = _CREATED_AND_LISTED.fullmatch(output.removesuffix(_REJECTED))
    assert match, output
    ids = [int(id_) for id_ in re.findall(r"^listed (\d+) ", match["listed"], re.MULTILINE)]
    assert len(ids) >= 2 * PAGE_SIZE
    assert [*ids, int(match["id"])] == sorted({*ids, int(match["id"])})


def failure(command: Sequence[str], folder: Path, target: str, key: str = ADMIN_KEY) -> str:
    """Run a program that must fail immediately; returns its error, which is one line."""
    done = _start(command, folder, target, key)
    assert done.returncode == 1, done.stdout
    assert not done.stdout
    assert re.fullmatch(r".+\n", done.stderr), done.stderr
    return done.stderr


@contextmanager
def silent() -> Iterator[str]:
    """The target of a server that never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _start(
    command: Sequence[str], folder: Path, target: str, key: str
) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PORTAL_")}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PORTAL_TARGET": target, "PORTAL_KEY": key},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
