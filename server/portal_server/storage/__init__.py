"""Rows in and out, on SQLite and PostgreSQL. The rules are in the domain."""
