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

    def __init__(self, settings: Settings) -> None:
        self._taken: grpc.ServerCertificateConfiguration | None = None
        self._require_client = settings.tls_client_ca is not None
        self._watch = CertificateWatch(settings, self._use)
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._take,  # type: ignore[arg-type]  # its type does not know None
            require_client_authentication=self._require_client,
        )

    def tasks(self, *, warn: bool) -> tuple[Callable[[], object], ...]:
        """What must be called periodically, with or without warnings before the end."""
        return (self._watch.look, self._watch.warn) if warn else (self._watch.look,)

    def _use(self, identity: Identity) -> None:
        self._configuration = grpc.ssl_server_certificate_configuration(
            [(identity.key, identity.chain)], root_certificates=identity.client_ca
        )

    def _take(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC calls before each handshake; None if there is no new certificate."""
        before, self._taken = self._taken, self._configuration
        # The certificate of a client is not checked again when its session is resumed. gRPC cannot
        # disable that, but a configuration that was given again has new keys of sessions.
        return self._taken if self._require_client or self._taken is not before else None
