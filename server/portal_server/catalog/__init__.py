"""The use cases of the portal, between the wire and the storage."""
