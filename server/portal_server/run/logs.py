"""The log: one line for each event, on standard error, as text or JSON."""

import json
import logging
import time
from typing import Any


class _Text(logging.Formatter):
    """Takes a third of the time of its base class, for a line without a traceback.

    It formats the date and time once a second, not once a line.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        if record.exc_info or record.stack_info:
            return super().format(record)
        at = self.formatTime(record)
        return f"{at} {record.levelname} {record.name}: {record.getMessage()}"

    def formatTime(self, record: logging.LogRecord, _datefmt: str | None = None) -> str:  # noqa: N802
        """Local time with milliseconds."""
        second, text = self._second
        if second != int(record.created):
            second = int(record.created)
            text = time.strftime(self.default_time_format, time.localtime(second))
            self._second = (second, text)
        return f"{text},{int(record.msecs):03d}"


class _Json(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and more.

    A message that is a named tuple, the line of a call, adds its fields. The time is formatted
    once a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        second, at = self._second
        if second != int(record.created):
            second = int(record.created)
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, at)
        fields: dict[str, Any] = getattr(record.msg, "_asdict", dict)()
        line: dict[str, Any] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": f"{fields['method']} {fields['code']}" if fields else record.getMessage(),
        }
        line |= {name: value for name, value in fields.items() if value != ""}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(level: str, form: str) -> None:
    """Log to standard error, from this level up, in the form `text` or `json`."""
    # Lines do not contain these values, so do not collect them (Logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel("WARNING")
