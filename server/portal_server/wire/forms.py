"""Results as messages, and messages as what is kept of them (see retries.Form)."""

from collections.abc import Callable
from typing import Generic, TypeVar

from google.protobuf.message import Message

Result = TypeVar("Result")
Answer = TypeVar("Answer", bound=Message)


class MessageForm(Generic[Result, Answer]):
    """Answers with a message."""

    def __init__(self, kind: type[Answer], make: Callable[[Result], Answer]) -> None:
        """Take the kind of message, and how a result becomes one."""
        self._kind = kind
        self.make = make

    def pack(self, answer: Answer) -> bytes:
        """The message's bytes."""
        return answer.SerializeToString()

    def unpack(self, kept: bytes) -> Answer:
        """The message of these bytes."""
        return self._kind.FromString(kept)
