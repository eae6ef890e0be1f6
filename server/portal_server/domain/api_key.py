"""API keys as a resource: what a caller can set, the rules, and the stored form.

`domain.keys` has the text of a key and what each role may do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from portal_server.domain import fields, keys
from portal_server.domain.errors import Invalid, Rule, Violation
from portal_server.domain.fields import Field, Ids, Integer, Text, Time, Unknown, Word
from portal_server.domain.identity import etag_of
from portal_server.domain.keys import MAX_PROVIDERS, Caller, Role

API_KEY: Mapping[str, Field] = {
    "role": Word(vocabulary=Role, required=True),
    "note": Text(max_length=1024),
    "provider_ids": Ids(max_count=MAX_PROVIDERS),
    "expire_time": Time(),
    "requests_per_second": Integer(maximum=100_000),
    "burst": Integer(maximum=100_000),
}
"""The fields that a caller can write."""

MAX_PREVIOUS_SECRETS = 4
"""How many previous secrets of a key may be valid at the same time."""
MAX_OVERLAP = timedelta(days=366)
"""How long a previous secret may stay valid."""
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyDraft:
    """An API key as a caller requests it."""

    role: Role | Unknown | None = None
    note: str = ""
    provider_ids: tuple[int, ...] = ()
    expire_time: datetime | Unknown | None = None
    requests_per_second: int | None = None
    burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeySpec:
    """An API key as the rules accept it.

    It may use all providers if `provider_ids` is empty, does not expire if `expire_time` is
    None, and has the limits of the settings if it has none.
    """

    role: Role
    note: str = ""
    provider_ids: tuple[int, ...] = ()
    expire_time: datetime | None = None
    requests_per_second: int | None = None
    burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousSecret:
    """A secret that was replaced, and is valid until its end."""

    digest: bytes = field(repr=False)
    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(ApiKeySpec):
    """A stored API key. Times are UTC; `revoke_time` is None while it is valid."""

    id: str
    digest: bytes = field(repr=False)
    create_time: datetime
    update_time: datetime
    revoke_time: datetime | None = None
    previous_secrets: tuple[PreviousSecret, ...] = ()
    last_use_time: datetime | None = None

    @property
    def etag(self) -> str:
        """The entity tag of what is stored, quotes included (RFC 9110, section 8.8.3)."""
        return etag_of(self.id, self.update_time)

    @property
    def previous_secret_expire_time(self) -> datetime | None:
        """When the last previous secret ends."""
        return max((one.expire_time for one in self.previous_secrets), default=None)

    def redacted(self) -> "ApiKey":
        """The same without the digests of its secrets."""
        previous = tuple(replace(one, digest=b"") for one in self.previous_secrets)
        return replace(self, digest=b"", previous_secrets=previous)

    @property
    def caller(self) -> Caller:
        """Who calls with this key."""
        return Caller(
            self.id,
            self.role,
            self.expire_time,
            frozenset(self.provider_ids),
            self.requests_per_second,
            self.burst,
        )

    def end_of(self, digest: bytes) -> datetime | None:
        """When the secret with this digest ends, at most `NEVER`; None if it is not valid."""
        if self.revoke_time:
            return None
        end = self.expire_time or NEVER
        if keys.matches(digest, self.digest):
            return end
        for previous in self.previous_secrets:
            if keys.matches(digest, previous.digest):
                return min(end, previous.expire_time)
        return None

    def digests(self, now: datetime) -> list[bytes]:
        """The digests of its valid secrets."""
        known = [self.digest, *(previous.digest for previous in self.previous_secrets)]
        return [each for each in known if (end := self.end_of(each)) and end > now]


def check_api_key(draft: ApiKeyDraft, others: Iterable[Violation] = ()) -> ApiKeySpec:
    """Accept an API key; `others` are violations of the same request that are already known.

    Raises:
        Invalid: with all violations.
    """
    violations = list(others)
    accepted = fields.check(draft, API_KEY, violations)
    if accepted["role"] is Role.ADMIN and accepted["provider_ids"]:
        # It could create a key without this limit.
        text = "must be empty for the role admin"
        violations.append(Violation("provider_ids", Rule.MALFORMED, text))
    if violations:
        raise Invalid(*violations)
    return ApiKeySpec(**accepted)
