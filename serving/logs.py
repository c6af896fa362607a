"""Log lines as JSON, one an event, without what exceptions say: it may hold a lead's data."""

import json
import logging
import re
import traceback
from contextvars import ContextVar
from typing import Any

from features.moments import iso

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered: it stands in every line that is logged meanwhile."""
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What JSON leaves as it is, and some readers take for the end of a line; and halves of a pair."""
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object; of an exception only its class and where it was raised.

    Examples
    --------
    >>> record = logging.makeLogRecord({"msg": "listening", "name": "serving", "created": 0.0})
    >>> JsonLines().format(record)
    '{"time": "1970-01-01T00:00:00Z", "level": ..., "logger": "serving", "message": "listening"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": iso(int(record.created * 1e6)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage().strip(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__qualname__
            frames = traceback.extract_tb(record.exc_info[2])
            line["raised_in"] = [f"{f.filename}:{f.lineno} {f.name}" for f in frames]
        written = json.dumps(line, ensure_ascii=False, default=str)
        return _BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def config(level: str) -> dict[str, Any]:
    """Return the configuration of `logging` for a process that serves."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "serving.logs.JsonLines"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
    }
