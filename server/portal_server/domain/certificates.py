"""Certificates in the PEM format (RFC 7468), as an operator pastes them."""

import re
import ssl

# All but the tab and the ends of lines. In JSON, which audit events are, each takes six bytes.
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")


def certificate_problem(pem: str) -> str:
    """What is wrong with CA certificates, as it follows the field's name; "" if nothing."""
    if "PRIVATE KEY-----" in pem:
        return "has a private key; only certificates belong here"
    if _CONTROL.search(pem):
        return "must not contain control characters"
    if "-----BEGIN CERTIFICATE-----" not in pem:
        return 'must be certificates in the PEM format: "-----BEGIN CERTIFICATE-----" and so on'
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        return "has a certificate that cannot be read; copy the complete PEM file"
    return ""
