"""OAuth Portal's server: OAuth 2.0 client types over gRPC.

A call passes these layers:

    wire (messages) -> catalog (use cases) -> storage (rows)

with `domain` (values, rules, errors) below all three. `server` puts the parts
together, `cli` is the command `portal`. docs/architecture.md has the reasons;
the import contracts in pyproject.toml enforce the order.
"""
