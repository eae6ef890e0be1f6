"""How a stored resource is identified: by its id, its uid and its etag."""

from datetime import datetime
from hashlib import blake2b

# Ids have 32 bits in the messages of both surfaces and in PostgreSQL's columns.
MAX_ID = 2**31 - 1


def etag_of(uid: str, update_time: datetime) -> str:
    """The entity tag of a stored resource, quotes included (RFC 9110, section 8.8.3)."""
    # Each write of a resource has a later time than the one before.
    text = f"{uid} {update_time.isoformat()}"
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'
