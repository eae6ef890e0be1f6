"""TLS on the direct port: gRPC's own credentials, with a certificate that can be replaced."""

from collections.abc import Callable

import grpc

from portal_server.run.certificates import CertificateWatch, Identity
from portal_server.run.settings import Settings


class DirectTls:
    """The certificate of the settings. gRPC uses TLS 1.2 or newer, with ALPN `h2`.

    Raises:
        CertificateError: the files of the settings cannot be used.
    """

    _new: grpc.ServerCertificateConfiguration | None

    def __init__(self, settings: Settings) -> None:
        self._watch = CertificateWatch(settings, self._use)
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(self._watch.identity),
            self._take,  # type: ignore[arg-type]  # its type does not know None
            require_client_authentication=settings.tls_client_ca is not None,
        )
        self._new = None

    def tasks(self, *, warn: bool) -> tuple[Callable[[], object], ...]:
        """What must be called periodically, with or without warnings before the end."""
        return (self._watch.look, self._watch.warn) if warn else (self._watch.look,)

    def _use(self, identity: Identity) -> None:
        self._new = _configuration(identity)

    def _take(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC calls before each handshake; None if there is no new certificate.

        Nothing else may be new: when gRPC replaces a configuration, it frees the old one, which
        the thread of another connection may be about to use (https://github.com/grpc/grpc/issues/36693).
        """
        new, self._new = self._new, None
        return new


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key, identity.chain)], root_certificates=identity.client_ca
    )
