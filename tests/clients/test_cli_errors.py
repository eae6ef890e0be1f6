"""Errors of commands: exit codes, JSON, connections, output, signals."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import grpc
import pytest
import trustme
from pydantic import SecretStr

from portal_cli.errors import Exit
from tests.clients.command import CREATE_PROVIDER, KEY, Command
from tests.support.databases import new_sqlite
from tests.support.own_server import started
from tests.support.postgres import free_port
from tests.support.providers.scripted import silent_port
from tests.support.stack import ENVIRONMENT
from tests.support.stack import portal as run_portal

LIST = ("providers", "list")
PORTAL = (sys.executable, "-m", "portal_cli")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_sqlite(tmp_path_factory.mktemp("errors") / "p.db")


@pytest.fixture(scope="module")
def target(url: str) -> Iterator[str]:
    with started(url, admin_key=SecretStr(KEY)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def portal(target: str) -> Command:
    return Command(target)


@contextmanager
def listening(credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """The port of a gRPC server without services, with TLS or without."""
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = (
            server.add_secure_port("127.0.0.1:0", credentials)
            if credentials
            else server.add_insecure_port("127.0.0.1:0")
        )
        server.start()
        yield port
        server.stop(None).wait()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a gRPC server with a certificate for localhost, and the file of its CA."""
    ca, file = trustme.CA(), tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    own = ca.issue_cert("localhost")
    chain = b"".join(one.bytes() for one in own.cert_chain_pems)
    with listening(grpc.ssl_server_credentials([(own.private_key_pem.bytes(), chain)])) as port:
        yield port, file


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in a separate interpreter: gRPC writes to the standard error of that."""
    return subprocess.run(
        [*PORTAL, *LIST, *arguments],
        env=ENVIRONMENT | {"PORTAL_KEY": KEY} | variables,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_not_found_no_permission_and_usage_have_their_own_exit_codes(
    portal: Command, url: str, target: str
) -> None:
    created = run_portal("keys", "create", "--role=viewer", PORTAL_DATABASE_URL=url)
    viewer = created.stdout.strip()

    portal("providers", "get", "77", code=Exit.NOT_FOUND)
    Command(target, PORTAL_KEY="wrong")(*LIST, code=Exit.NO_PERMISSION)
    Command(target, PORTAL_KEY=viewer)(*CREATE_PROVIDER, code=Exit.NO_PERMISSION)
    portal("providers", "get", "0", code=Exit.USAGE)
    portal("providers", "get", "x", code=Exit.NOT_FOUND)
    Command(target, PORTAL_KEY="")(*LIST, code=Exit.USAGE)


def test_an_error_is_json_if_results_are(portal: Command) -> None:
    missing = portal("providers", "get", "77", "-o", "json", code=Exit.NOT_FOUND)
    invalid = portal(
        *CREATE_PROVIDER[:2], "--name= ", *CREATE_PROVIDER[3:], "-o", "json", code=Exit.FAILED
    )
    unknown = portal("providers", "list", "--nope", "-o", "json", code=Exit.USAGE)

    assert json.loads(missing.stderr) == {
        "error": {
            "message": "provider 77 not found",
            "exit_code": 66,
            "status": "NOT_FOUND",
            "reason": "PROVIDER_NOT_FOUND",
        }
    }
    error = json.loads(invalid.stderr)["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["violations"][0]["field"] == "provider.name"
    assert "--nope" in json.loads(unknown.stderr)["error"]["message"]
    assert missing.stdout == invalid.stdout == unknown.stdout == ""


def test_a_closed_port_is_one_sentence_with_the_setting() -> None:
    port = free_port()
    done = run("--target", f"localhost:{port}")

    assert done.returncode == Exit.NO_SERVER
    assert done.stderr == (
        f"portal: cannot connect to localhost:{port}: connection refused; is the portal running"
        " there? If it is elsewhere, set PORTAL_TARGET or pass --target\n"
    )


def test_an_unknown_host_is_one_sentence() -> None:
    done = run(PORTAL_TARGET="nowhere.invalid:50051")

    assert done.returncode == Exit.NO_SERVER
    assert done.stderr.startswith("portal: cannot connect to nowhere.invalid:50051: unknown host (")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "target", ["http://localhost:50051", "localhost", "localhost:99999", "local host:1", ""]
)
def test_a_target_that_is_not_a_host_with_a_port_is_rejected(target: str) -> None:
    done = Command("x")(*LIST, "--target", target, code=Exit.USAGE)

    assert "host:port" in done.stderr


def test_tls_against_plaintext_names_the_option(target: str) -> None:
    done = run("--tls", PORTAL_TARGET=target)

    assert done.returncode == Exit.NO_SERVER
    assert done.stderr == (
        f"portal: cannot connect to {target}: the server does not use TLS;"
        " remove --tls and --ca, or unset PORTAL_TLS and PORTAL_CA\n"
    )


def test_plaintext_against_tls_names_the_option(tls: tuple[int, Path]) -> None:
    done = run("--target", f"localhost:{tls[0]}")

    assert done.returncode == Exit.NO_SERVER
    assert done.stderr == (
        f"portal: cannot connect to localhost:{tls[0]}: the server uses TLS:"
        " pass --tls or set PORTAL_TLS=true\n"
    )


def test_an_untrusted_certificate_names_the_option(tls: tuple[int, Path]) -> None:
    done = run("--target", f"localhost:{tls[0]}", "--tls")

    assert done.returncode == Exit.NO_SERVER
    assert "the certificate of the server is invalid: " in done.stderr
    assert "; pass the file of its CA with --ca or PORTAL_CA\n" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_certificate_for_another_host_is_the_cause(tls: tuple[int, Path]) -> None:
    port, ca = tls
    done = run("--target", f"127.0.0.1:{port}", "--ca", str(ca))

    assert done.returncode == Exit.NO_SERVER
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_a_portal_is_an_error(tls: tuple[int, Path]) -> None:
    port, ca = tls
    done = run("--target", f"localhost:{port}", "--ca", str(ca))

    assert done.stderr == (
        f"portal: localhost:{port} does not have this method: it is not a portal, or an older one\n"
    )


@pytest.mark.parametrize("arguments", [LIST, (*LIST, "-o", "json"), ("-h",), ("completion", "zsh")])
@pytest.mark.parametrize(
    ("redirection", "code"), [(">/dev/full", Exit.OUTPUT), (">&-", Exit.OUTPUT), ("| true", 0)]
)
def test_output_that_cannot_be_written_is_an_error_without_a_traceback(
    target: str, arguments: tuple[str, ...], redirection: str, code: int
) -> None:
    command = " ".join((*PORTAL, *arguments, redirection))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=ENVIRONMENT | {"PORTAL_KEY": KEY, "PORTAL_TARGET": target},
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == code
    assert done.stderr.count("\n") == bool(code)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_closed_standard_streams_do_not_end_a_command(target: str) -> None:
    for closed in ("2>&-", "<&-"):
        done = subprocess.run(
            ["bash", "-c", f"{' '.join((*PORTAL, *LIST))} {closed}"],
            env=ENVIRONMENT | {"PORTAL_KEY": KEY, "PORTAL_TARGET": target},
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert "NAME" in done.stdout


@contextmanager
def responding(data: bytes) -> Iterator[int]:
    """The port of a server that sends this on each connection and closes it."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        threads.submit(serve)
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "it closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not use HTTP/2"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not use HTTP/2"),
    ],
)
def test_a_server_that_is_not_a_grpc_server_is_named(data: bytes, found: str) -> None:
    with responding(data) as port:
        done = run("--target", f"localhost:{port}", "--timeout", "1")

    assert done.returncode == Exit.NO_SERVER
    assert done.stderr == (
        f"portal: cannot connect to localhost:{port}: it is not a gRPC server ({found});"
        " set PORTAL_TARGET or pass --target\n"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [((), "accepts connections but did not respond in time"), (("--tls",), "no response to TLS")],
)
def test_a_server_that_sends_nothing_is_not_taken_for_one_without_tls(
    options: tuple[str, ...], text: str
) -> None:
    with silent_port() as port:
        done = run("--target", f"localhost:{port}", "--timeout", "0.5", *options)

    assert done.returncode == Exit.NO_SERVER
    assert text in done.stderr
    assert "does not use TLS" not in done.stderr


@contextmanager
def not_ignored(number: signal.Signals) -> Iterator[None]:
    """Let processes that start in the block get a signal that a shell made this one ignore."""
    before = signal.getsignal(number)
    if before == signal.SIG_IGN and number != signal.SIGPIPE:
        signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, Exit.INTERRUPTED),
        (signal.SIGTERM, Exit.TERMINATED),
        (signal.SIGHUP, Exit.HANGUP),
        (signal.SIGQUIT, -signal.SIGQUIT),
        (signal.SIGUSR1, -signal.SIGUSR1),
        (signal.SIGPIPE, None),
    ],
)
def test_a_signal_ends_a_command_without_a_traceback(
    tmp_path: Path, number: signal.Signals, code: int | None
) -> None:
    secret = tmp_path / "secret"
    with not_ignored(number), closing(socket.create_server(("127.0.0.1", 0))) as silent:
        process = subprocess.Popen(
            [*PORTAL, "clients", "register", "1", "1", "--name=x", "--secret-file", str(secret)],
            env=ENVIRONMENT
            | {"PORTAL_KEY": KEY, "PORTAL_TARGET": f"127.0.0.1:{silent.getsockname()[1]}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        with connection:
            process.send_signal(number)
            if code is None:  # it is ignored, so that a closed pipe is an error of a write
                process.terminate()
            _, error = process.communicate(timeout=30)

    assert process.returncode == (Exit.TERMINATED if code is None else code)
    assert error == ("portal: stopped\n" if process.returncode > 0 else "")
    assert secret.exists() == (process.returncode < 0)


def test_a_signal_during_the_start_leaves_no_traceback() -> None:
    for after in (0.05, 0.15, 0.3):
        with not_ignored(signal.SIGINT):
            process = subprocess.Popen(
                [*PORTAL, "-h"],
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)

        assert "portal_cli/main" not in error
