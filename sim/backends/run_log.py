"""What a run's log file leaves out: a traceback that stands in it already."""

import logging
import re
import traceback


class FirstTracebackOnly(logging.Filter):
    """Writes a traceback where its error occurs first, and afterwards the one line that says which error it is.

    Errors are the same if they differ in numbers alone: where one file is missing on a machine, every device on it
    fails, each under its own number.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a record whose error was written before; none is left out."""
        text = record.getMessage()
        lines = text.strip().splitlines() or [""]
        if record.exc_info and record.exc_info[0] is not None:
            error = traceback.format_exception_only(*record.exc_info[:2])[-1].strip()
        elif len(lines) > 1:
            error = lines[-1].strip()
        else:
            return True
        kind = re.sub(r"\d+", "#", error)
        if kind in self._seen:
            record.msg, record.args = f"{lines[0]}: {error} (traceback above)", ()
            record.exc_info = record.exc_text = None
        self._seen.add(kind)
        return True
