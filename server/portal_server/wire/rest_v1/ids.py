"""The ids in paths: the number of a resource, or its uid."""

import re

from portal_server.domain.errors import NotFound, Resource
from portal_server.domain.fields import quote
from portal_server.domain.identity import Ref, is_uid

# Without 0, which means "not given" in the catalog.
_NUMBER = re.compile(r"0*[1-9][0-9]{0,17}")


def ref_of(resource: Resource, text: str) -> Ref:
    """The resource that a part of a path identifies.

    Raises:
        NotFound: the text is neither a number nor a uid.
    """
    if _NUMBER.fullmatch(text):
        return int(text)
    if is_uid(text):
        return text
    raise NotFound(resource, quote(text))
