"""Access tokens of an issuer, as the settings have them."""

from portal_server.catalog.access_tokens import AccessTokens
from portal_server.domain.access_tokens import TokenRules
from portal_server.idp.issuer_keys import IssuerKeys
from portal_server.run.settings import Settings, SettingsError


def token_rules(settings: Settings) -> TokenRules | None:
    """Which access tokens are accepted; None: none.

    Raises:
        SettingsError: a setting is missing.
    """
    names = (part.strip() for part in (settings.jwt_audience or "").split(","))
    audiences = tuple(filter(None, names))
    if settings.jwt_issuer is None:
        if audiences or settings.jwt_roles or settings.jwt_jwks_url:
            raise SettingsError("PORTAL_JWT_ISSUER: required with the other PORTAL_JWT_ settings")
        return None
    for name, found in (("AUDIENCE", audiences), ("ROLES", settings.jwt_roles)):
        if not found:
            raise SettingsError(f"PORTAL_JWT_{name}: required with PORTAL_JWT_ISSUER")
    claim = tuple(settings.jwt_role_claim.split("."))
    return TokenRules(settings.jwt_issuer, audiences, claim, settings.jwt_roles)


def access_tokens(settings: Settings) -> tuple[IssuerKeys | None, AccessTokens | None]:
    """The keys of the issuer, which are not fetched yet, and its tokens; None without an issuer.

    Raises:
        SettingsError: a setting is missing.
    """
    rules = token_rules(settings)
    if rules is None:
        return None, None
    allow_private = settings.private_providers_allowed
    keys = IssuerKeys(rules.issuer, settings.jwt_jwks_url or "", allow_private=allow_private)
    return keys, AccessTokens(rules, keys)
