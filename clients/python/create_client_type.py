"""Creates a client type. Reads the address from PORTAL_TARGET and the API key from PORTAL_KEY."""

from portal_client import (
    GRANT_TYPE_PKCE,
    GRANT_TYPE_REFRESH_TOKEN,
    RESPONSE_TYPE_CODE,
    ClientType,
    InvalidArgument,
    Portal,
)

with Portal() as portal:
    try:
        created = portal.create_client_type(
            1,
            ClientType(
                name="Single-page application",
                response_types=[RESPONSE_TYPE_CODE],
                grant_types=[GRANT_TYPE_PKCE, GRANT_TYPE_REFRESH_TOKEN],
            ),
        )
    except InvalidArgument as error:
        print(*error.violations, sep="\n")  # client_type.name: is required
        raise
    for client_type in portal.list_client_types(1, filter="grant_types:GRANT_TYPE_PKCE"):
        print(client_type.id, client_type.name, "(new)" if client_type.id == created.id else "")
