"""Ends the loops at an interrupt that a library has swallowed."""

from collections.abc import Sequence

import pandas as pd

from core import interrupts
from sim.observers.base import PlayObserver
from strategies.training.loop import EpochRecord, TrainingObserver


class Interrupts(TrainingObserver, PlayObserver):
    """Raises KeyboardInterrupt after a batch or a round if Ctrl-C was pressed and got lost."""

    def on_batch(self, step: int, steps: int, records: Sequence[EpochRecord]) -> None:
        interrupts.check()

    def on_round(self, rows: pd.DataFrame, fresh: bool) -> None:
        interrupts.check()
