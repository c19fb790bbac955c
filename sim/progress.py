"""What the user sees during a run: bars with an estimate on a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 15.0
"""Seconds between plain lines of one task."""


class Task:
    """One piece of work with a known length."""

    def update(self, done: float, note: str = "", total: float | None = None) -> None:
        """Tell how far it is, with a short note."""


class Display:
    """Where progress goes. ``say`` is for single lines that stay."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)

    def say(self, line: str) -> None:
        """A line that stays on the screen."""
        if not self.quiet:
            self.console.print(line)

    @contextmanager
    def task(self, title: str, total: float) -> Iterator[Task]:
        """Show progress of the block."""
        if self.quiet:
            yield Task()
        elif self.console.is_terminal:
            columns = (
                TextColumn("{task.description:<24}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            with Progress(*columns, console=self.console) as progress:
                yield _Bar(progress, progress.add_task(title, total=total, note=""))
        else:
            lines = _Lines(title, total)
            yield lines
            lines.close()


class _Bar(Task):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def update(self, done: float, note: str = "", total: float | None = None) -> None:
        self._progress.update(self._task, completed=done, note=note, total=total)


class _Lines(Task):
    def __init__(self, title: str, total: float) -> None:
        self._title, self._total = title, total
        self._started = self._last = time.monotonic()
        self._done, self._note = 0.0, ""

    def update(self, done: float, note: str = "", total: float | None = None) -> None:
        self._done, self._note, self._total = done, note, total or self._total
        if time.monotonic() - self._last >= LINE_EVERY:
            self._last = time.monotonic()
            spent = self._last - self._started
            left = spent * (self._total - done) / done if done else 0.0
            self._print(f"{done:.0f} of {self._total:.0f}, about {left:.0f} s left")

    def close(self) -> None:
        self._print(f"done in {time.monotonic() - self._started:.0f} s")

    def _print(self, state: str) -> None:
        print(f"{self._title}: {state}{'; ' if self._note else ''}{self._note}", file=sys.stderr, flush=True)
