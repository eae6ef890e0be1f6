"""Certificates in the PEM format (RFC 7468), as an operator pastes them."""

import re
import ssl

# All but printable ASCII, the tab and the ends of lines. Python's ssl module reads ASCII only, and
# in JSON, which audit events are, each of these takes six bytes or twelve.
_OTHER = re.compile(r"[^\t\n\r -~]")


def certificate_problem(pem: str) -> str:
    """What is wrong with CA certificates, as it follows the field's name; "" if nothing."""
    if "PRIVATE KEY-----" in pem:
        return "has a private key; only certificates belong here"
    if _OTHER.search(pem):
        return "must be printable ASCII; remove comments that have other characters"
    if "-----BEGIN CERTIFICATE-----" not in pem:
        return 'must be certificates in the PEM format: "-----BEGIN CERTIFICATE-----" and so on'
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        return "has a certificate that cannot be read; copy the complete PEM file"
    return ""
