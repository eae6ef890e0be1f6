"""How a stored resource is identified: by its id, its uid and its etag."""

import re
import secrets
import time
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from uuid import UUID

from portal_server.domain.errors import Rule, Violation

# Ids have 32 bits in the messages of both APIs and in PostgreSQL's columns.
MAX_ID = 2**31 - 1

Ref = int | str
"""Which resource a caller means: its id or its uid."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def new_uid() -> str:
    """A UUID version 7 (RFC 9562, section 5.7).

    It begins with the time, so the uids of new rows are next to each other in the index.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = milliseconds << 80 | 7 << 76 | random >> 62 << 64 | 2 << 62 | random & (1 << 62) - 1
    return str(UUID(int=value))


def is_uid(text: str) -> bool:
    """Whether a text is a UUID of any version, in upper or lower case (RFC 9562, section 4)."""
    return bool(_UUID.fullmatch(text))


def check_uid(uid: str | None) -> list[Violation]:
    """What is wrong with a uid that a caller gives; None is "not given"."""
    if uid is None or is_uid(uid):
        return []
    text = "must be a UUID, as in 0193b1a6-8a54-7f3e-9c1d-2b7a4e5f6a7b"
    return [Violation("uid", Rule.MALFORMED, text)]


# A write needs an etag two or three times: for its event, its response, and the next write.
@lru_cache(1024)
def etag_of(uid: str, update_time: datetime) -> str:
    """The entity tag of a stored resource, quotes included (RFC 9110, section 8.8.3)."""
    # Each write of a resource has a later time than the previous one.
    text = f"{uid} {update_time.isoformat()}"
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'
