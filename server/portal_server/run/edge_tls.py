"""TLS on Envoy's ports.

Envoy reads the certificate by SDS (secret discovery service) from files in the private folder, and
again when one of them is replaced: connections stay open, and new ones get the new certificate.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from portal_server.run.certificates import Identity
from portal_server.run.run_folder import replace, replace_json

_TYPES = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"

# The names of the secrets in Envoy, and of their files.
_SERVER, _CALLERS = "server", "callers"

# RFC 9325, section 3.1.1. What BoringSSL chooses with TLS 1.2 has forward secrecy and AEAD.
_VERSIONS = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
# gRPC needs h2; browsers and curl may use both.
_PROTOCOLS = ["h2", "http/1.1"]
# As long as a caller may take for the headers of a request.
_HANDSHAKE = "10s"


def publish(folder: Path, identity: Identity) -> None:
    """Write the certificate, its key and the CAs of callers, for Envoy and for the servers.

    The certificate and its key are in one file, so that they are replaced together.

    Raises:
        OSError: a file cannot be written.
    """
    if identity.client_ca:
        replace(client_ca_file(folder), identity.client_ca)
    replace(identity_file(folder), identity.key + identity.chain)


def identity_file(folder: Path) -> Path:
    """The file with the certificate and its key (PEM)."""
    return folder / "server.pem"


def client_ca_file(folder: Path) -> Path:
    """The file with the CAs of callers (PEM)."""
    return folder / "callers.pem"


def use_tls(listeners: Iterable[Any], folder: Path, *, require_client: bool) -> None:
    """Make each listener use TLS, with the files of `publish`."""
    pem = {"filename": str(identity_file(folder))}
    certificate = {"certificate_chain": pem, "private_key": pem, **_watched(folder)}
    common: dict[str, Any] = {
        "tls_params": _VERSIONS,
        "alpn_protocols": _PROTOCOLS,
        "tls_certificate_sds_secret_configs": [
            _secret(folder, _SERVER, "tls_certificate", certificate)
        ],
    }
    if require_client:
        trusted = {"trusted_ca": {"filename": str(client_ca_file(folder))}, **_watched(folder)}
        common["validation_context_sds_secret_config"] = _secret(
            folder, _CALLERS, "validation_context", trusted
        )
    socket = {
        "name": "tls",
        "typed_config": {
            "@type": f"{_TYPES}.DownstreamTlsContext",
            "common_tls_context": common,
            "require_client_certificate": require_client,
            # The certificate of a client is not checked again when its session is resumed.
            "disable_stateless_session_resumption": require_client,
            "disable_stateful_session_resumption": require_client,
        },
    }
    for listener in listeners:
        for chain in listener["filter_chains"]:
            chain["transport_socket"] = socket
            chain["transport_socket_connect_timeout"] = _HANDSHAKE


def _watched(folder: Path) -> dict[str, Any]:
    return {"watched_directory": {"path": str(folder)}}


def _secret(folder: Path, name: str, kind: str, secret: dict[str, Any]) -> dict[str, Any]:
    """Write the file that names a secret's files; returns how a listener refers to it."""
    file = folder / f"{name}.json"
    resource = {
        "@type": f"{_TYPES}.Secret",
        "name": name,
        kind: secret,
    }
    replace_json(file, {"resources": [resource]})
    source = {"path_config_source": {"path": str(file)}, "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}
