"""A call to a provider: requests that share one deadline and count as one call in its limit."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from portal_server.domain.errors import (
    NotSent,
    OutcomeUnknown,
    Reason,
)
from portal_server.idp import urls
from portal_server.idp.access import Access
from portal_server.idp.connection import Request, Response
from portal_server.idp.connection_pool import ConnectionPool
from portal_server.idp.limits import Limits, Ticket
from portal_server.idp.network import Deadline
from portal_server.idp.tls import Trust
from portal_server.idp.urls import Url
from portal_server.metrics import PROVIDER_CALLS, provider_label
from portal_server.tracing import span

TOTAL_S = 10.0
"""How long a call may take: waiting, discovery, a token, and the request itself."""
_WAIT_PART = 0.5
# With less time left, a request that changes something is not sent: its outcome would be unknown.
_CHANGE_PART = 0.2
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Call:
    """Requests to one provider."""

    def __init__(
        self,
        access: Access,
        trust: Trust,
        connections: ConnectionPool,
        ticket: Ticket,
        deadline: Deadline,
    ) -> None:
        self.access = access
        self._trust = trust
        self._connections = connections
        self._ticket = ticket
        self._deadline = deadline
        self._total_s = deadline.left_s

    def send(
        self,
        method: str,
        url: Url,
        *,
        authorization: str = "",
        document: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request; no redirect is followed.

        Raises:
            NotSent: nothing reached the provider.
            OutcomeUnknown: the request was sent, and no status was received.
        """
        headers = {"Authorization": authorization} if authorization else {}
        body = None
        if document is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(document, ensure_ascii=True).encode()
        elif form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        elif method == "POST":
            body = b""
        if method != "GET" and self._deadline.left_s < self._total_s * _CHANGE_PART:
            text = "the provider is slow: too little time is left, so nothing was sent"
            raise NotSent(Reason.PROVIDER_UNREACHABLE, text)
        return self._exchange(Request(method=method, url=url, headers=headers, body=body))

    def get_following(self, url: Url) -> Response:
        """Send a GET without a credential; follow redirects on the same host, never to http.

        Raises:
            NotSent, OutcomeUnknown: as `send`.
        """
        response = self.send("GET", url)
        for _ in range(_MAX_REDIRECTS):
            next_url = _redirect(response)
            if next_url is None:
                break
            response = self.send("GET", next_url)
        return response

    def _exchange(self, request: Request) -> Response:
        began, outcome = time.monotonic(), "error"
        try:
            with span(request.method, _attributes(request)):
                response = self._respond(request)
            outcome = "timeout" if response.timed_out else f"{response.status // 100}xx"
        except (NotSent, OutcomeUnknown) as error:
            outcome = error.reason.lower()
            raise
        finally:
            provider = provider_label(self.access.provider.id)
            PROVIDER_CALLS.labels(provider, outcome).observe(time.monotonic() - began)
        return response

    def _respond(self, request: Request) -> Response:
        is_tls = request.url.scheme == "https"
        context = self._trust.context(self.access.provider) if is_tls else None
        try:
            response = self._connections.exchange(
                request, self.access.version, context=context, deadline=self._deadline
            )
        except NotSent as error:
            if error.reason is Reason.PROVIDER_UNREACHABLE:
                self._ticket.failed()
            raise
        except OutcomeUnknown as error:
            if error.reason is Reason.PROVIDER_TIMEOUT:
                self._ticket.failed()
            raise
        if response.timed_out:
            self._ticket.failed()
        else:
            self._ticket.reached()
        return response


def _attributes(request: Request) -> dict[str, str | int]:
    return {"http.request.method": request.method, "server.address": request.url.host}


class Caller:
    """Begins calls. Thread-safe."""

    def __init__(self, *, allow_private: bool, limits: Limits, total_s: float = TOTAL_S) -> None:
        self.connections = ConnectionPool(allow_private=allow_private)
        self._limits = limits
        self._total_s = total_s
        self._trust = Trust()
        self._held = threading.local()

    @contextmanager
    def call(self, access: Access) -> Iterator[Call]:
        """A call; waits at most half of its time until the provider's limit allows it.

        Raises:
            NotSent: too many calls wait, or the provider is down.
        """
        current: Call | None = getattr(self._held, "call", None)
        if current is not None and current.access == access:
            yield current
            return
        deadline = Deadline(self._total_s)
        with self._limits.admit(access.provider.uid, self._total_s * _WAIT_PART) as ticket:
            yield Call(access, self._trust, self.connections, ticket, deadline)

    @contextmanager
    def held(self, access: Access) -> Iterator[None]:
        """Make all calls of this thread in the block one call."""
        with self.call(access) as call:
            self._held.call = call
            try:
                yield
            finally:
                self._held.call = None


def _redirect(response: Response) -> Url | None:
    """Where a response redirects to; None if it does not, or if that is not allowed."""
    location = response.headers.get("location", "")
    if response.status not in _REDIRECTS or not location:
        return None
    here = response.url
    url = urls.parse(here.origin + location if location.startswith("/") else location)
    if url is None or location.startswith("//") or url.host != here.host:
        return None
    return None if here.scheme == "https" and url.scheme == "http" else url
