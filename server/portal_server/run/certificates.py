"""The certificate of the ports: read from files, checked, and read again when it changes."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from portal_server.domain.errors import OperatorError
from portal_server.run.secret_files import SecretFileError, read_file, read_secret
from portal_server.run.settings import Settings

log = logging.getLogger("portal.tls")

CERT, KEY, CLIENT_CA = "PORTAL_TLS_CERT", "PORTAL_TLS_KEY", "PORTAL_TLS_CLIENT_CA"
WARN_BEFORE = timedelta(days=30)
"""How long before its end the log has a warning about a certificate, once a day."""
LOOK_S = 1.0
_DAY_S = 86_400.0

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_CERTIFICATES = re.compile(_BEGIN + b".+?" + _END, re.DOTALL)
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
# What Envoy accepts.
_LEAST_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class CertificateError(OperatorError):
    """A file of TLS cannot be used. The text starts with the name of the setting."""


@dataclass(frozen=True)
class _Files:
    """The content of the files."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


@dataclass(frozen=True)
class Identity:
    """A certificate with its chain, its private key, and the CAs that callers' certificates need.

    Attributes:
        chain: PEM, the server's certificate first.
        key: PEM without a passphrase, a secret.
        client_ca: PEM; None if callers need no certificate.
        expires: when the first certificate of the chain expires.
        client_ca_expires: when the first certificate of `client_ca` expires.
        names: the DNS names and addresses that the certificate is for.
    """

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    expires: datetime
    client_ca_expires: datetime | None
    names: tuple[str, ...]


def _read(settings: Settings) -> _Files:
    if not (settings.tls_cert and settings.tls_key):
        raise CertificateError(f"{CERT} and {KEY} are not set")
    ca = settings.tls_client_ca
    return _Files(
        _content(CERT, settings.tls_cert, read_file),
        _content(KEY, settings.tls_key, read_secret),
        _content(CLIENT_CA, ca, read_file) if ca else None,
    )


def _content(name: str, file: Path, read: Callable[[Path], bytes]) -> bytes:
    try:
        return read(file)
    except SecretFileError as error:
        raise CertificateError(f"{name}: {file}: {error}") from None


def _checked(files: _Files) -> Identity:
    chain = _certificates(CERT, files.certificate)
    key = _private_key(files.key)
    if _public(chain[0].public_key()) != _public(key.public_key()):
        raise CertificateError(f"{KEY}: is not the key of the first certificate in {CERT}")
    for certificate in chain:
        _require_valid_now(certificate)
    client_ca = [] if files.client_ca is None else _client_ca(files.client_ca)
    return Identity(
        chain=_pem(chain),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        client_ca=_pem(client_ca) or None,
        expires=_first_end(chain),
        client_ca_expires=_first_end(client_ca) if client_ca else None,
        names=tuple(_names(chain[0])),
    )


def _client_ca(pem: bytes) -> list[x509.Certificate]:
    """The CAs of callers; some may have expired, such as one that is being replaced."""
    found = _certificates(CLIENT_CA, pem)
    last = max(certificate.not_valid_after_utc for certificate in found)
    if datetime.now(UTC) > last:
        raise CertificateError(f"{CLIENT_CA}: expired at {_time(last)}")
    return found


def _first_end(certificates: list[x509.Certificate]) -> datetime:
    return min(certificate.not_valid_after_utc for certificate in certificates)


def _certificates(name: str, pem: bytes) -> list[x509.Certificate]:
    found = _CERTIFICATES.findall(pem)
    if not found:
        raise CertificateError(f"{name}: has no certificate in the PEM format")
    # A file may be cut off inside of the line that begins the next certificate.
    last_line = pem.rstrip().rpartition(b"\n")[2]
    if not len(found) == pem.count(_BEGIN) == pem.count(_END) or _BEGIN.startswith(last_line):
        raise CertificateError(f"{name}: has an incomplete certificate")
    try:
        return [x509.load_pem_x509_certificate(part) for part in found]
    except ValueError:
        raise CertificateError(f"{name}: has a certificate that cannot be read") from None


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _private_key(pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    found = _PRIVATE_KEY.search(pem)
    if not found:
        raise CertificateError(f"{KEY}: has no private key in the PEM format")
    try:
        key = load_pem_private_key(found[0], None)
    except TypeError:
        raise CertificateError(f"{KEY}: has a passphrase; it must have none") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{KEY}: has a private key that cannot be read") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    raise CertificateError(
        f"{KEY}: must be RSA with at least {_LEAST_RSA_BITS} bits,"
        " or ECDSA on P-256, P-384 or P-521"
    )


def _public(key: object) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _require_valid_now(certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise CertificateError(f"{CERT}: expired at {_time(certificate.not_valid_after_utc)}")
    if now < certificate.not_valid_before_utc:
        start = _time(certificate.not_valid_before_utc)
        raise CertificateError(f"{CERT}: is not valid before {start}; is the clock right?")


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return
    yield from found.get_values_for_type(x509.DNSName)
    yield from map(str, found.get_values_for_type(x509.IPAddress))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


class CertificateWatch:
    """Notices that the files have changed.

    Files are often replaced one after the other, so a problem counts only if the next look finds
    it, too. While there is one, the identity stays as it is.

    Args:
        settings: has the files.
        use: is called with the identity now, and with each new one.

    Raises:
        CertificateError: the files cannot be used now.
    """

    def __init__(self, settings: Settings, use: Callable[[Identity], object]) -> None:
        self._settings = settings
        self._use = use
        self._files = _read(settings)
        self.identity = _checked(self._files)
        self._problem: str | None = None
        self._logged: str | None = None
        self._looked = time.monotonic()
        self._warned = -_DAY_S
        use(self.identity)

    def look(self) -> None:
        """Use new files if there are any; at most once in a second. Raises nothing."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        try:
            self._take_new()
        except (CertificateError, OSError) as error:
            self._note(str(error))
        else:
            self._problem = self._logged = None

    def _take_new(self) -> None:
        files = _read(self._settings)
        if files == self._files:
            return
        identity, before = _checked(files), self.identity
        self._use(identity)
        self._files, self.identity = files, identity
        self._warned = -_DAY_S
        if (identity.chain, identity.key) != (before.chain, before.key):
            log.info("the ports have a new certificate, valid until %s", _time(identity.expires))
        if identity.client_ca != before.client_ca:
            log.info("the ports have new CAs of client certificates")

    def _note(self, problem: str) -> None:
        if problem == self._problem and problem != self._logged:
            self._logged = problem
            log.error("%s. The ports keep the previous files", problem)
        self._problem = problem

    def warn(self) -> None:
        """Log a warning, once a day, if the certificate or a CA of callers expires soon."""
        now = time.monotonic()
        if now - self._warned < _DAY_S:
            return
        served, ca = self.identity.expires, self.identity.client_ca_expires
        soon = datetime.now(UTC) + WARN_BEFORE
        if served <= soon:
            self._warned = now
            _log_end(CERT, served, "callers reject it")
        if ca and ca <= soon:
            self._warned = now
            _log_end(f"a CA in {CLIENT_CA}", ca, "the ports reject its certificates")


def _log_end(what: str, end: datetime, consequence: str) -> None:
    left = end - datetime.now(UTC)
    if left <= timedelta():
        log.error("%s expired at %s: %s", what, _time(end), consequence)
    else:
        log.warning("%s expires in %d days, at %s", what, left.days, _time(end))
