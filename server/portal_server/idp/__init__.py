"""Calls to identity providers: registers and manages clients there (RFC 7591, RFC 7592).

Knows no database and no message. Every failure is an error of `portal_server.domain`.
"""
