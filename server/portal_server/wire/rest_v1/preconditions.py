"""Entity tags in the headers of REST (RFC 9110, sections 8.8.3 and 13.1.1)."""

import re

from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.wire.calls import CallContext
from portal_server.wire.requests import IF_MATCH, values_of

_TAG = re.compile(r'(?:(W/)|)("[\x21\x23-\x7e]*")')
TAGS = re.compile(rf"[ \t,]*{_TAG.pattern}(?:[ \t]*,[ \t,]*{_TAG.pattern})*[ \t,]*")


def if_match(context: CallContext) -> set[str] | None:
    """The entity tags of which the stored resource must have one; None: any.

    Weak tags are omitted: they match nothing (RFC 9110, section 8.8.3.2).

    Raises:
        Invalid: `If-Match` is neither `*` nor a list of entity tags.
    """
    values = values_of(context.invocation_metadata(), IF_MATCH)
    text = ",".join(values).strip()
    if not values or text == "*":
        return None
    if not TAGS.fullmatch(text):
        message = 'must be * or entity tags in quotes, as the header ETag has them: "0a1b"'
        raise Invalid(Violation("if_match", Rule.MALFORMED, message))
    return {tag for weak, tag in _TAG.findall(text) if not weak}


def send_etag(context: CallContext, etag: str) -> None:
    """Send this entity tag with the response.

    In the trailers, because initial metadata costs a fifth of a call. The edge converts
    it to the header `ETag`.
    """
    context.set_trailing_metadata((("etag", etag),))
