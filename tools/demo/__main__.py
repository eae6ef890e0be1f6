"""`make demo`: runs an identity provider on this machine, and adds it to the portal.

It is oidc-provider, which stores everything in memory: at the end its clients are gone.
"""

import os
import sys
import time

from portal_client import PROVIDER_TYPE_OTHER, Portal, PortalError, Provider
from tests.support.providers.oidc import oidc_provider

PORT = 8190
_TOKEN = "demo"  # noqa: S105 - of a provider that only this machine reaches
_NEXT = """
The provider {id} of the portal is {url}. Ctrl-C ends it. In another terminal:

  .venv/bin/portal client-types create {id} --name Service \\
    --response-types none --grant-types client_credentials
  .venv/bin/portal clients register {id} <client type> --name Demo
  curl -u '<client_id>:<client_secret>' -d grant_type=client_credentials {url}/token
"""


def _provider(portal: Portal, uri: str) -> Provider:
    for provider in portal.list_providers():
        if provider.well_known_uri == uri:
            return provider
    return portal.create_provider(
        Provider(
            name="Demo",
            type=PROVIDER_TYPE_OTHER,
            well_known_uri=uri,
            registration_access_token=_TOKEN,
        )
    )


def main() -> None:
    """Run until Ctrl-C."""
    if "PORTAL_KEY" not in os.environ:
        sys.exit("demo: set PORTAL_KEY to the admin API key that `make run` printed")
    with oidc_provider(_TOKEN, PORT) as url:
        try:
            with Portal() as portal:
                provider = _provider(portal, f"{url}/.well-known/openid-configuration")
        except PortalError as error:
            sys.exit(f"demo: {error}")
        print(_NEXT.format(id=provider.id, url=url), flush=True)  # noqa: T201
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
