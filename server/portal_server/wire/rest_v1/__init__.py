"""The REST dialect, portal.rest.v1: messages that mirror a portal's JSON."""
