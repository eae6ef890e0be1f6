"""The certificate of a client on the direct port, with mutual TLS."""

from datetime import UTC, datetime
from functools import lru_cache

import grpc
from cryptography import x509

from portal_server.domain.errors import CertificateExpired

# A key of the `auth_context` of a call; absent without mutual TLS.
_CERTIFICATE = "x509_pem_cert"
_MAX_KNOWN = 1024


def require_current(context: grpc.ServicerContext) -> None:
    """Check that the certificate of the client, if it has one, has not expired.

    TLS does not check it when it resumes a session, and gRPC has no setting that disables that.
    A connection can also outlive its certificate.

    Raises:
        CertificateExpired: it has.
    """
    for pem in context.auth_context().get(_CERTIFICATE, ()):
        if _end_of(pem) < datetime.now(UTC):
            raise CertificateExpired


@lru_cache(_MAX_KNOWN)
def _end_of(pem: bytes) -> datetime:
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc
