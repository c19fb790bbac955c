"""What the user sees during a run: one live display on a terminal, plain lines elsewhere, or nothing.

A run goes through phases (:meth:`Display.phase`); in each of them some pieces of work are done, one after the other or
several at a time: models are trained (:class:`Training`) or methods are played (:class:`Playing`). Everything goes to
standard error, so that standard output holds the result only.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sim.observers.base import PlayObserver
from sim.observers.totals import Totals
from strategies.training.learner import Recipe
from strategies.training.loop import EpochRecord, TrainingObserver

LINE_EVERY = 15.0
"""Seconds between plain lines of one piece of work."""
NARROW = 100
"""Columns of a terminal below which space is saved."""


class Work(ABC):
    """One piece of work with a known length, and when it began."""

    def __init__(self, title: str, total: float, display: "Display | None" = None) -> None:
        self.title, self.total, self._display = title, total, display
        self.done = 0.0
        self.found = 0.0
        """What an earlier, killed run had done of that: it says nothing about the speed of this one."""
        self.note = ""
        self.started: float | None = None
        self.spent: float | None = None
        """Seconds it took, once it is finished."""
        self.printed = 0.0
        """When its latest plain line was printed."""

    @property
    def left(self) -> float | None:
        """Seconds until it is finished at the speed so far; None where that is not known yet."""
        if self.started is None or self.done <= self.found:
            return None
        return (time.monotonic() - self.started) * (self.total - self.done) / (self.done - self.found)

    @property
    def state(self) -> str:
        """A word or a duration for the display."""
        if self.spent is not None:
            return "done"
        if self.started is None:
            return "waiting"
        return "" if self.left is None else clock(self.left)

    @abstractmethod
    def cells(self) -> list[str]:
        """Its numbers, in the order of the header of its phase."""

    @abstractmethod
    def words(self) -> str:
        """Its numbers, for a plain line."""

    def _changed(self) -> None:
        if self._display is not None:
            self._display.changed(self)


Expected = Callable[[Sequence[EpochRecord]], int]
"""How many epochs a training will take, guessed from those it has taken."""


class Training(Work, TrainingObserver):
    """The training of a cloud model; its length is a guess that is mended as it goes."""

    HEADER = ("model", "epochs", "left", "loss", "best validation\nNDCG@10")

    def __init__(self, title: str, expected: Expected, display: "Display | None" = None) -> None:
        super().__init__(title, 1, display)
        self.expected = expected
        self.records: Sequence[EpochRecord] = []

    def on_batch(self, step: int, steps: int, records: Sequence[EpochRecord]) -> None:
        if self.done == 0:
            self.found = float(len(records))
        self.records, self.total, self.done = records, self.expected(records), len(records) + step / steps
        self._changed()

    def on_end(self, records: Sequence[EpochRecord], fresh: bool) -> None:
        self.records, self.done, self.total = records, len(records), len(records)
        self.note = "" if fresh else "from the cache"

    def cells(self) -> list[str]:
        epochs = f"{self.done:.0f}" + (f" of ~{self.total:.0f}" if self.done < self.total else "")
        if not self.records:
            return [epochs if self.done else "", self.state, "", ""]
        best = max(record.valid_ndcg for record in self.records)
        return [epochs, "cached" if self.note else self.state, f"{self.records[-1].loss:.3f}", f"{best:.4f}"]

    def words(self) -> str:
        if not self.records:
            return ""
        best = max(record.valid_ndcg for record in self.records)
        return f"loss {self.records[-1].loss:.3f}, best validation NDCG@10 {best:.4f}"


class Playing(Work, PlayObserver):
    """The sessions of a method with one seed."""

    HEADER = ("method", "sessions", "left", "NDCG@10", "served\n%", "requests", "Mbit")

    def __init__(self, title: str, total: float, display: "Display | None" = None) -> None:
        super().__init__(title, total, display)
        self.totals = Totals()

    def on_wave(self, sessions: int) -> None:
        self.done += sessions
        self._changed()

    def on_round(self, rows: pd.DataFrame, fresh: bool) -> None:
        self.totals.add(rows)
        self.done = self.totals.sessions
        if not fresh:
            self.found += len(rows)
        self._changed()

    def cells(self) -> list[str]:
        sessions, totals = f"{self.done:,.0f}/{self.total:,.0f}", self.totals
        if not totals.sessions:
            return [sessions, self.state, "", "", "", ""]
        requests, megabits = f"{totals.sums['requested']:,.0f}", f"{totals.megabits:,.0f}"
        return [sessions, self.state, f"{totals.ndcg:.4f}", f"{100 * totals.served:.1f}", requests, megabits]

    def words(self) -> str:
        totals = self.totals
        if not totals.sessions:
            return ""
        return (
            f"NDCG@10 {totals.ndcg:.4f}, served {100 * totals.served:.1f} %, "
            f"{totals.sums['requested']:,.0f} requests, {totals.megabits:,.1f} Mbit"
        )


@dataclass
class _Phase:
    title: str
    number: int
    began: float


class Display:
    """Where progress goes. ``say`` is for single lines that stay."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self.quiet = quiet
        self.console = console or Console(stderr=True, highlight=False)
        self._title, self._phases, self._began = "", 1, time.monotonic()
        self._phase: _Phase | None = None
        self._works: Sequence[Work] = ()
        self._past: list[str] = []

    @property
    def live(self) -> bool:
        """Whether there is a terminal that can be painted on."""
        return not self.quiet and self.console.is_terminal and not self.console.is_dumb_terminal

    def say(self, line: str) -> None:
        """A line that stays on the screen."""
        if not self.quiet:
            self.console.print(line, soft_wrap=True)

    def warn(self, line: str) -> None:
        """A line that stays on the screen even where everything else is quiet."""
        self.console.print(f"warning: {escape(line)}", soft_wrap=True)

    @contextmanager
    def open(self, title: str, phases: int) -> Iterator[None]:
        """Show the display while the block runs: a run of this name in so many phases."""
        self._title, self._phases, self._began = title, phases, time.monotonic()
        if not self.live:
            yield
            return
        with Live(get_renderable=self.frame, console=self.console, refresh_per_second=4):
            yield
            self._end_phase()

    def phase(self, title: str, works: Sequence[Work] = ()) -> None:
        """Begin a phase, with the pieces of work it will have; what the last one did shrinks to a line."""
        self._end_phase()
        self._phase = _Phase(title, len(self._past) + 1, time.monotonic())
        self._works = works

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._past.append(f"{self._phase.title}: {clock(time.monotonic() - self._phase.began)}")
        self._phase, self._works = None, ()

    def training(self, title: str, expected: Expected) -> Training:
        """A model to be trained, for about as many epochs as ``expected`` says."""
        return Training(title, expected, display=self)

    def playing(self, title: str, sessions: int) -> Playing:
        """A method to be played."""
        return Playing(title, sessions, display=self)

    @contextmanager
    def doing(self, work: Work) -> Iterator[None]:
        """The block does this piece of work."""
        work.started = work.printed = time.monotonic()
        yield
        work.spent = time.monotonic() - work.started
        self._line(work, f"done in {clock(work.spent)}" if not work.note else work.note)

    def changed(self, work: Work) -> None:
        """A piece of work has got on; elsewhere than on a terminal it says so now and then."""
        if not self.live and time.monotonic() - work.printed >= LINE_EVERY:
            work.printed = time.monotonic()
            left = "" if work.left is None else f", about {clock(work.left)} left"
            self._line(work, f"{work.done:,.0f} of {work.total:,.0f}{left}")

    def _line(self, work: Work, state: str) -> None:
        if not self.live:
            kind = "train" if isinstance(work, Training) else "play"
            self.say(f"{kind} {work.title}: {state}{'; ' if work.words() else ''}{work.words()}")

    # -- on a terminal ----------------------------------------------------------------------------------------------

    def frame(self) -> RenderableType:
        """The display as it is now."""
        now = time.monotonic()
        lines: list[RenderableType] = [Text(f"{self._title}, {clock(now - self._began)}", style="bold")]
        lines += [Text(f"✓ {line}", style="dim", overflow="fold") for line in self._past]
        if self._phase is not None:
            lines.append(Text(f"{self._phase.number} of {self._phases}: {self._phase.title}"))
        if self._works:
            lines.append(self._table())
            if len(shown := self._on_screen()) < len(self._works):
                done = sum(work.state == "done" for work in self._works)
                lines.append(Text(f"{len(shown)} of {len(self._works)}, {done} are done", style="dim"))
        return Group(*lines)

    def _table(self) -> Table:
        header = Training.HEADER if isinstance(self._works[0], Training) else Playing.HEADER
        narrow = self.console.width < NARROW
        table = Table(box=None, padding=(0, 1 if narrow else 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column(header[0], vertical="bottom", min_width=11)
        table.add_column("", max_width=8 if narrow else 24)
        for name in header[1:]:  # as wide as they may become, so that nothing jumps
            least = {"sessions": max(len(work.cells()[0]) for work in self._works), "epochs": 9, "left": 9, "Mbit": 7}
            table.add_column(
                name, justify="right", no_wrap=True, vertical="bottom", min_width=least.get(name), overflow="fold"
            )
        for work in self._on_screen():
            bar = ProgressBar(work.total, work.done, complete_style="cyan", finished_style="green")
            table.add_row(work.title, bar, *work.cells(), style="dim" if work.started is None else "")
        return table

    def _on_screen(self) -> list[Work]:
        """The pieces of work that fit on the terminal: those that are being done before those that wait or are done."""
        room = max(self.console.height - len(self._past) - 6, 4)
        first = sorted(self._works, key=lambda work: 2 * (work.spent is not None) + (work.started is None))[:room]
        return [work for work in self._works if work in first]


def epochs_expected(recipe: Recipe, search: int, records: Sequence[EpochRecord]) -> int:
    """A guess for the estimate: as if no epoch were better than the best so far, and at least one more."""
    counted = records[search:]
    if not counted:
        return search + recipe.max_epochs
    best = max(counted, key=lambda record: record.valid_ndcg).epoch
    return min(search + recipe.max_epochs, max(recipe.ends(best, search), len(records) + 1))


def clock(seconds: float) -> str:
    """``12 s``, ``3:07 min`` or ``1:02:07 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
