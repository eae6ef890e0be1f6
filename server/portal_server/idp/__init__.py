"""Calls to identity providers: registers and manages clients there (RFC 7591, RFC 7592).

It does not use the database or messages. Every failure is an error of `portal_server.domain`.
"""
