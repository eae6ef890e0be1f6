"""The generator of the table in docs/settings.md."""
