"""What the portal does: the use cases, between the wire and the storage."""
