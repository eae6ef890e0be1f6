"""The ids in paths: the number of a resource, or its uid."""

import re
from collections.abc import Callable

from portal_server.domain.calls import Call
from portal_server.domain.errors import NotFound, Resource
from portal_server.domain.fields import quote
from portal_server.domain.identity import is_uid

# Without 0, which the catalog takes for "not given".
_NUMBER = re.compile(r"0*[1-9][0-9]{0,17}")
_NO_NUMBER = -1


def number_of(call: Call, resource: Resource, text: str, id_of: Callable[[str], int]) -> int:
    """The number of the resource that a path names; `id_of` returns that of a uid.

    For a request that may be a retry, -1 stands for a uid that does not exist: the
    resource may have been deleted by the first one, whose response is still kept.

    Raises:
        NotFound: the text is neither a number nor a uid, or there is no such uid.
    """
    if _NUMBER.fullmatch(text):
        return int(text)
    if not is_uid(text):
        raise NotFound(resource, quote(text))
    try:
        return id_of(text)
    except NotFound:
        if call.idempotency:
            return _NO_NUMBER
        raise
