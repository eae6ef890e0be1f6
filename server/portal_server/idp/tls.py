"""What is trusted in TLS: the CAs of the system, and those of a provider."""

import ssl
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import certifi

from portal_server.domain.certificates import certificate_problem
from portal_server.domain.errors import NotSent, Reason
from portal_server.domain.provider import Provider

# Reading the CAs of the system can take 75 ms.
_MAX_CONTEXTS = 32


class Trust:
    """SSL contexts, one for each CA certificate. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._contexts: OrderedDict[tuple[bool, str], ssl.SSLContext] = OrderedDict()

    def context(self, provider: Provider) -> ssl.SSLContext:
        """The context for a provider.

        Raises:
            NotSent: its CA certificate cannot be read.
        """
        skip = provider.tls_insecure_skip_verify
        key = (skip, "" if skip else provider.ca_certificate)
        with self._lock:
            context = self._contexts.get(key)
        # Without the lock: calls to other providers need not wait for this.
        context = context or _context(*key)
        with self._lock:
            self._contexts[key] = context
            self._contexts.move_to_end(key)
            while len(self._contexts) > _MAX_CONTEXTS:
                self._contexts.popitem(last=False)
            return context


def _context(skip: bool, pem: str) -> ssl.SSLContext:  # noqa: FBT001 - the parts of a key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325, section 3.1.1
    context.set_alpn_protocols(["http/1.1"])
    if skip:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    # An operator may trust an intermediate CA without its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _load_system(context)
    if pem:
        if problem := certificate_problem(pem):
            text = f"the CA certificate of the provider {problem}"
            raise NotSent(Reason.PROVIDER_TLS_NOT_TRUSTED, text)
        context.load_verify_locations(cadata=pem)
    return context


def _load_system(context: ssl.SSLContext) -> None:
    """Load the CAs of the system, or those of Mozilla if the system has none.

    SSL_CERT_FILE and SSL_CERT_DIR have no effect: what is trusted must not depend on the
    environment of a process.
    """
    paths = ssl.get_default_verify_paths()
    file = Path(paths.openssl_cafile)
    folder = Path(paths.openssl_capath)
    has_file = file.is_file()
    has_folder = folder.is_dir() and any(folder.iterdir())
    if has_file or has_folder:
        context.load_verify_locations(
            cafile=file if has_file else None, capath=folder if has_folder else None
        )
    else:
        context.load_verify_locations(cafile=certifi.where())
