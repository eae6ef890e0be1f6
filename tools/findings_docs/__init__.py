"""The generator of the tables in docs/findings.md."""
