"""Has the server check a plan before anything is written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from portal_cli import wording
from portal_cli.plan import CREATE, DELETE, Step
from portal_client import (
    ERROR_REASON_OKTA_APP_TYPE_MISSING,
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Portal,
    PortalError,
)

# Errors about one step. After any other, the next step would fail for the same reason.
OF_STEP: Final = (Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the server would reject a step; `place` is the line and column in a file, or ""."""

    place: str
    title: str
    text: str

    def __str__(self) -> str:
        """The problem in one line."""
        return ": ".join(filter(None, (self.place, self.title, self.text)))


@dataclass(slots=True)
class Validation:
    """Validates the steps of a plan, in their order: each depends on the steps before it."""

    portal: Portal
    _freed: set[str] = field(default_factory=set)
    _taken: set[tuple[type, str]] = field(default_factory=set)

    def problems(
        self, steps: Iterable[Step], advance: Callable[[], None] = lambda: None
    ) -> list[Problem]:
        """All problems of all steps.

        Raises:
            PortalError: the steps cannot be validated.
        """
        found: list[Problem] = []
        for step in steps:
            found += self.problems_of(step)
            advance()
        return found

    def problems_of(self, step: Step) -> list[Problem]:
        """The problems of a step whose predecessors were validated.

        Raises: as `problems`.
        """
        found = [problem for kept in step.kept for problem in self.problems_of(kept)]
        try:
            step.validate(self.portal)
        except OF_STEP as error:
            if not self._is_resolved(error, step):
                found += _problems(error, step)
        uid = step.own.resource.uid.lower()
        if step.sign == CREATE and uid:
            key = type(step.own.resource), uid
            if key in self._taken:
                found.append(_problem(step, "uid", f"uid: another resource has the uid {uid}"))
            self._taken.add(key)
        self._freed |= {one.resource.uid for one in step.changes if one.sign == DELETE}
        return found

    def _is_resolved(self, error: PortalError, step: Step) -> bool:
        """Whether earlier steps of the plan remove the cause of the error.

        The server makes these two checks after all others. It looks at what is stored: that a
        provider becomes Okta is checked with each client type as the plan leaves it.
        """
        if isinstance(error, AlreadyExists):
            return step.own.resource.uid.lower() in self._freed
        return error.reason == ERROR_REASON_OKTA_APP_TYPE_MISSING


def _problems(error: PortalError, step: Step) -> Iterator[Problem]:
    if not error.violations:
        yield _problem(step, "uid" if isinstance(error, AlreadyExists) else "", wording.text(error))
    for name, text in wording.violations(error):
        yield _problem(step, name, f"{name}: {text}")


def _problem(step: Step, name: str, text: str) -> Problem:
    place = step.own.place
    where = str(place.of(name) if name else place) if place else ""
    return Problem(where, step.title, text)
