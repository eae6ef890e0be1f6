"""The native API, portal.oauth.v1."""
