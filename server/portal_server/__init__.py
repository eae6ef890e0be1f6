"""OAuth Portal's server: OAuth 2.0 client types over gRPC.

A call flows one way:

    wire (messages) -> catalog (use cases) -> storage (rows)

with `domain` (words, rules, errors) below all three. `server` puts the parts
together, `cli` is the command `portal`. docs/architecture.md has the reasons;
the import contracts in pyproject.toml keep the directions.
"""
