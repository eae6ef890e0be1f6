"""What the document cannot say of requests that are meant to be good; see schemathesis.toml."""

from itertools import count
from typing import Any

import schemathesis
from schemathesis import Case, HookContext

_numbers = count()


@schemathesis.hook
def before_load_schema(_context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Allow no field in a response that the document does not have."""
    # This file is loaded from its folder: the tests are no package there.
    for schema in raw_schema["components"]["schemas"].values():
        if schema.get("additionalProperties") is True:
            schema["additionalProperties"] = False


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, object]) -> None:
    """Correct requests that the stored resources would reject."""
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in case.headers:
        # The same one for another request is rejected.
        case.headers["Idempotency-Key"] = f"{next(_numbers)} {case.headers['Idempotency-Key']}"[
            :255
        ]
    if str(case.headers.get("If-Match", "")).isalnum():
        # One of its phases knows only letters and digits in headers.
        case.headers["If-Match"] = "*"
    if isinstance(case.body, dict):
        # The document cannot exclude the numbers that Envoy does not read, in fields without names.
        case.body = {
            name: 0 if isinstance(value, int) and value >= 1 << 63 else value
            for name, value in case.body.items()
        }
    if isinstance(case.body, dict) and case.body.get("RegistrationURL"):
        # The pattern of a URL allows hosts that cannot exist.
        case.body["RegistrationURL"] = "https://idp.example.com/register"
    if isinstance(case.body, dict) and case.body.get("CACertificate"):
        # A certificate that can be read is not found by chance.
        case.body["CACertificate"] = ""
    if isinstance(case.body, dict) and case.body.get("CredentialType") == "ClientCredentials":
        case.body["CredentialClientID"] = case.body.get("CredentialClientID") or "portal"
    if isinstance(case.body, dict) and "GrantType" in case.body:
        # The provider may be an Okta one.
        case.body["OktaAppType"] = case.body.get("OktaAppType") or "web"
