"""What may be in the files of TLS, and when a new certificate is used."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from portal_server.run import certificates
from portal_server.run.certificates import (
    CertificateError,
    CertificateWatch,
    Identity,
)
from portal_server.run.settings import Settings
from tests.support.certificates import Authority, Files, swap, write


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def settings(files: Files, client_ca: Path | None = None) -> Settings:
    return Settings.model_construct(tls_cert=files.cert, tls_key=files.key, tls_client_ca=client_ca)


def identity(given: Settings) -> Identity:
    """The certificate of the settings when a server starts."""
    return CertificateWatch(given, lambda _identity: None).identity


def private_pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def problem(files: Files, client_ca: Path | None = None) -> str:
    with pytest.raises(CertificateError) as raised:
        identity(settings(files, client_ca))
    text = str(raised.value)
    assert "\n" not in text
    assert "PRIVATE" not in text
    return text


@pytest.mark.parametrize("kind", trustme.KeyType)
def test_a_certificate_has_its_names_and_its_end(own: Authority, kind: trustme.KeyType) -> None:
    found = identity(settings(own.issue("s", "a.test", "192.0.2.7", days=3, kind=kind)))

    assert found.names == ("a.test", "192.0.2.7")
    assert abs(found.expires - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=1)
    assert found.client_ca is None
    assert "PRIVATE KEY" not in repr(found)


def test_one_file_may_have_both_and_text_between(own: Authority) -> None:
    files = own.issue()
    write(files.key, b"x\n" + files.key.read_bytes() + b"subject=...\n" + files.cert.read_bytes())

    assert identity(settings(Files(files.key, files.key))) == identity(settings(files))


def test_a_key_may_be_in_the_older_format_with_parameters(own: Authority) -> None:
    files = own.issue()
    key = load_pem_private_key(files.key.read_bytes(), None)
    old = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    write(files.key, parameters + old)

    assert identity(settings(files)).key == private_pem(key)  # type: ignore[arg-type]


def test_a_key_of_another_certificate_is_an_error(own: Authority) -> None:
    files = Files(own.issue("a").cert, own.issue("b").key)

    assert problem(files) == (
        "PORTAL_TLS_KEY: is not the key of the first certificate in PORTAL_TLS_CERT"
    )


def test_a_certificate_that_is_not_valid_now_is_an_error(own: Authority) -> None:
    past = problem(own.issue("past", days=-1, age_days=9))
    future = problem(own.issue("future", age_days=-1))

    assert past.startswith("PORTAL_TLS_CERT: expired at 20")
    assert past.endswith(" UTC")
    assert future.startswith("PORTAL_TLS_CERT: is not valid before 20")
    assert future.endswith(" UTC; is the clock right?")


@pytest.mark.parametrize("which", ["cert", "key"])
def test_a_file_that_does_not_exist_is_named(own: Authority, which: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    files = own.issue()._replace(**{which: missing})

    assert problem(files) == f"PORTAL_TLS_{which.upper()}: {missing}: No such file or directory"


def test_a_missing_ca_of_clients_is_named(own: Authority, tmp_path: Path) -> None:
    text = problem(own.issue(), tmp_path)

    assert text == f"PORTAL_TLS_CLIENT_CA: {tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "has no certificate in the PEM format"),
        (b"\x30\x82\x01", "has no certificate in the PEM format"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "has a certificate that cannot be read",
        ),
        (b"-----BEGIN CERTIFICATE-----\nAAAA", "has no certificate in the PEM format"),
        (bytes((1 << 20) + 1), "is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_not_a_certificate_is_an_error(
    own: Authority, content: bytes, error: str
) -> None:
    files = own.issue()
    write(files.cert, content)
    as_ca = own.issue("other")

    assert problem(files).removeprefix(f"PORTAL_TLS_CERT: {files.cert}: ").endswith(error)
    assert problem(as_ca, files.cert).startswith("PORTAL_TLS_CLIENT_CA: ")


@pytest.mark.parametrize("kept", ["begin", "line", "end"])
def test_a_file_that_is_cut_off_is_an_error(own: Authority, tmp_path: Path, kept: str) -> None:
    files, other = own.issue(), Authority(tmp_path / "other").file.read_bytes()
    whole = own.file.read_bytes()
    cut = {"begin": whole + other[:-30], "line": whole + other[:18], "end": whole[30:] + other}
    write(own.file, cut[kept])

    assert problem(files, own.file) == "PORTAL_TLS_CLIENT_CA: has an incomplete certificate"


def test_one_ca_of_clients_must_be_valid(own: Authority) -> None:
    files, expired = own.issue(), own.issue("expired", days=-1, age_days=9).cert
    both = expired.read_bytes() + own.file.read_bytes()

    assert problem(files, expired).startswith("PORTAL_TLS_CLIENT_CA: expired at 20")
    write(own.file, both)
    assert identity(settings(files, own.file)).client_ca == both


def _encrypted() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (lambda: b"", "has no private key in the PEM format"),
        (
            lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "has a private key that cannot be read",
        ),
        (_encrypted, "has a passphrase; it must have none"),
        (lambda: private_pem(ed25519.Ed25519PrivateKey.generate()), "must be RSA with at least"),
        (lambda: private_pem(rsa.generate_private_key(65537, 1024)), "must be RSA with at least"),  # noqa: S505
        (lambda: private_pem(ec.generate_private_key(ec.SECP256K1())), "must be RSA with at least"),
    ],
    ids=["empty", "damaged", "passphrase", "Ed25519", "short", "curve"],
)
def test_a_key_that_envoy_does_not_accept_is_an_error(
    own: Authority, content: Callable[[], bytes], error: str
) -> None:
    files = own.issue()
    write(files.key, content())

    assert problem(files).startswith(f"PORTAL_TLS_KEY: {error}")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620])
def test_a_key_that_others_can_read_is_an_error(own: Authority, mode: int) -> None:
    files = own.issue()
    files.key.chmod(mode)

    text = f"PORTAL_TLS_KEY: {files.key}: can be read by others: set its mode to 0600"
    assert problem(files) == text


class Watched:
    """A watch whose clock a test moves."""

    def __init__(
        self, files: Files, monkeypatch: pytest.MonkeyPatch, ca: Path | None = None
    ) -> None:
        self.used: list[Identity] = []
        self._now = 1000.0
        monkeypatch.setattr("portal_server.run.certificates.time.monotonic", lambda: self._now)
        self.watch = CertificateWatch(settings(files, ca), self.used.append)

    def look(self, seconds: float = 1.0) -> None:
        self._now += seconds
        self.watch.look()
        self.watch.warn()


@pytest.fixture
def watched(own: Authority, monkeypatch: pytest.MonkeyPatch) -> tuple[Watched, Files]:
    files = own.issue()
    return Watched(files, monkeypatch), files


def test_a_renamed_in_certificate_is_used_at_the_next_look(
    watched: tuple[Watched, Files], own: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch, files = watched
    new = own.issue("new", "new.test")
    watch.look()
    assert len(watch.used) == 1

    swap(files, new)
    watch.look(0.5)
    assert len(watch.used) == 1
    watch.look(0.5)
    watch.look()

    assert [identity.names for identity in watch.used[1:]] == [("new.test",)]
    assert [record.getMessage()[:39] for record in caplog.records] == [
        "the ports have a new certificate, valid"
    ]


def test_a_symlink_that_is_swapped_as_kubernetes_does_is_noticed(
    own: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        folder = tmp_path / f"..{name}"
        folder.mkdir()
        issued = own.issue(name, f"{name}.test")
        issued.cert.rename(folder / "tls.crt")
        issued.key.rename(folder / "tls.key")
    (tmp_path / "..data").symlink_to("..one")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    watch = Watched(Files(tmp_path / "tls.crt", tmp_path / "tls.key"), monkeypatch)

    (tmp_path / "..data_tmp").symlink_to("..two")
    os.rename(tmp_path / "..data_tmp", tmp_path / "..data")  # noqa: PTH104 - not its target
    watch.look()

    assert [identity.names for identity in watch.used] == [("one.test",), ("two.test",)]


def test_a_problem_keeps_the_previous_certificate_and_is_logged_once(
    watched: tuple[Watched, Files], own: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    watch, files = watched
    expired = own.issue("expired", days=-1, age_days=9)
    swap(files, expired)
    for _ in range(5):
        watch.look()

    assert len(watch.used) == 1
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("PORTAL_TLS_CERT: expired at ")
    assert record.getMessage().endswith(" UTC. The ports keep the previous files")

    caplog.clear()
    files.key.chmod(0o644)
    watch.look()
    watch.look()
    assert "can be read by others" in caplog.text

    swap(files, own.issue("good", "good.test"))
    watch.look()
    assert watch.used[-1].names == ("good.test",)


def test_files_that_are_replaced_one_after_the_other_are_not_a_problem(
    watched: tuple[Watched, Files], own: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    watch, files = watched
    new = own.issue("new", "new.test")
    write(files.cert, new.cert.read_bytes())
    watch.look()
    write(files.key, new.key.read_bytes())
    watch.look()

    assert watch.used[-1].names == ("new.test",)
    assert not caplog.records


def test_a_copy_that_fails_is_tried_again(
    own: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = own.issue()
    watch = Watched(files, monkeypatch)
    full = OSError(28, "No space left on device")
    swap(files, own.issue("new", "new.test"))

    with monkeypatch.context() as patch:

        def fail(_: Identity) -> None:
            raise full

        patch.setattr(watch.watch, "_use", fail)
        watch.look()
        watch.look()
    watch.look()

    assert "No space left on device" in caplog.text
    assert watch.used[-1].names == ("new.test",)


def test_new_cas_of_clients_are_used(
    own: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    watch = Watched(own.issue(), monkeypatch, own.file)
    other = Authority(tmp_path / "other")
    write(own.file, other.file.read_bytes())
    watch.look()

    assert [identity.client_ca for identity in watch.used[1:]] == [other.file.read_bytes()]
    assert caplog.messages == ["the ports have new CAs of client certificates"]


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (31, None),
        (29.5, "a CA in PORTAL_TLS_CLIENT_CA expires in 29 days, at "),
        (-1, "a CA in PORTAL_TLS_CLIENT_CA expired at "),
    ],
)
def test_the_end_of_a_ca_of_clients_is_announced_once_a_day(
    own: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    days: float,
    text: str | None,
) -> None:
    old = own.issue("old", days=days, age_days=9).cert
    write(own.file, own.file.read_bytes() + old.read_bytes())
    watch = Watched(own.issue(), monkeypatch, own.file)
    for _ in range(25):
        watch.look(3600)

    assert [message.startswith(text or "") for message in caplog.messages] == [True] * (
        2 if text else 0
    )


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (31, None),
        (29.5, "PORTAL_TLS_CERT expires in 29 days, at "),
        (-1, "PORTAL_TLS_CERT expired"),
    ],
)
def test_the_end_is_announced_thirty_days_before_once_a_day(
    own: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    days: float,
    warning: str | None,
) -> None:
    files = own.issue(days=max(days, 1))
    watch = Watched(files, monkeypatch)
    if days < 0:
        # The certificate has expired since the start.
        later = datetime.now(UTC) + timedelta(days=2)

        class Later(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
                return later

        monkeypatch.setattr(certificates, "datetime", Later)
    for _ in range(25):
        watch.look(3600)

    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == (2 if warning else 0)
    assert all(text.startswith(warning or "") for text in texts)
