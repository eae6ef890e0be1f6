"""Connections, statements, transactions, migrations and errors of both databases."""
