"""Certificates for development: a CA, a server for the names of this machine, and a client."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

from portal_server.domain.errors import OperatorError
from portal_server.run.new_files import new_private_file

CA_FILE, SERVER_FILE, SERVER_KEY_FILE = "ca.pem", "server.pem", "server.key"
CLIENT_FILE, CLIENT_KEY_FILE = "client.pem", "client.key"
NAMES = ("localhost", "127.0.0.1", "::1")
DAYS = 365


class DevCertificateError(OperatorError):
    """The certificates cannot be created."""


class _Ca(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def create(folder: Path, names: Sequence[str] = NAMES) -> None:
    """Write a CA certificate, and certificates of a server and of a client with their keys.

    The key of the CA is not kept: nobody can use this CA for anything else.

    Raises:
        DevCertificateError: a name is invalid, a file exists, or one cannot be written.
    """
    ca = _new_ca()
    files = {CA_FILE: _pem(ca.certificate)}
    server = x509.SubjectAlternativeName([_general_name(name) for name in names])
    files[SERVER_FILE], files[SERVER_KEY_FILE] = _issue(ca, names[0], Usage.SERVER_AUTH, server)
    files[CLIENT_FILE], files[CLIENT_KEY_FILE] = _issue(ca, "client", Usage.CLIENT_AUTH)
    if found := [name for name in files if (folder / name).exists()]:
        raise DevCertificateError(
            f"{folder / found[0]} exists: delete it, or choose another folder"
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            with new_private_file(folder / name) as opened:
                opened.write(content)
    except OSError as error:
        raise DevCertificateError(f"{error.filename}: {error.strerror}") from None


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise DevCertificateError(f"the name {name!r} must be ASCII") from None


def _new_ca() -> _Ca:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("OAuth Portal development CA")
    usage = _key_usage(ca=True)
    builder = _builder(name, name, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return _Ca(builder.add_extension(usage, critical=True).sign(key, SHA256()), key)


def _issue(
    ca: _Ca,
    name: str,
    usage: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None = None,
) -> tuple[bytes, bytes]:
    """A certificate and its key (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    builder = (
        _builder(_name(name), ca.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(authority, critical=False)
    )
    if names:
        builder = builder.add_extension(names, critical=False)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return _pem(builder.sign(ca.key, SHA256())), private


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
