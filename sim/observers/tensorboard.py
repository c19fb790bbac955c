"""Curves for TensorBoard while a run goes on: ``--tensorboard``, then ``tensorboard --logdir RUN``.

One folder below ``RUN/tensorboard`` for each trained model and each played method, so that TensorBoard draws them into
the same charts. A run that is continued writes its curves anew, from the beginning.
"""

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from core.errors import UserError
from sim.observers.base import PlayObserver
from sim.observers.totals import Totals
from strategies.training.loop import EpochRecord, TrainingObserver

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TrainingCurves(TrainingObserver):
    """Writes loss and validation metrics of one training, against its epochs."""

    def __init__(self, writer: "SummaryWriter") -> None:
        self.writer, self.written = writer, 0

    def on_epoch(self, records: Sequence[EpochRecord]) -> None:
        for record in records[self.written :]:
            self.writer.add_scalar("training/loss", record.loss, record.epoch)
            self.writer.add_scalar("validation/NDCG@10", record.valid_ndcg, record.epoch)
            self.writer.add_scalar("validation/Hit@10", record.valid_hit, record.epoch)
        self.written = len(records)

    def on_end(self, records: Sequence[EpochRecord], fresh: bool) -> None:
        self.on_epoch(records)


class PlayCurves(PlayObserver):
    """Writes what the sessions of one method gave so far, against the number of sessions."""

    def __init__(self, writer: "SummaryWriter") -> None:
        self.writer, self.totals = writer, Totals()

    def on_round(self, rows: pd.DataFrame, fresh: bool) -> None:
        self.totals.add(rows)
        at = self.totals.sessions
        self.writer.add_scalar("sessions/NDCG@10", self.totals.ndcg, at)
        self.writer.add_scalar("sessions/served", self.totals.served, at)
        self.writer.add_scalar("sessions/requests", self.totals.sums["requested"], at)
        self.writer.add_scalar("sessions/megabits", self.totals.megabits, at)


class Curves:
    """Opens the event files of a run; without a folder there are none, and nothing observes."""

    def __init__(self, folder: Path | None, opened: ExitStack) -> None:
        """``opened`` closes the files."""
        self.folder, self._opened = folder, opened

    def training(self, model: str, seed: int) -> Sequence[TrainingObserver]:
        """What observes the training of a model: one observer or none."""
        return [] if self.folder is None else [TrainingCurves(self._writer(self.folder / f"train-{model}-{seed}"))]

    def playing(self, method: str, seed: int) -> Sequence[PlayObserver]:
        """What observes the play of a method: one observer or none."""
        return [] if self.folder is None else [PlayCurves(self._writer(self.folder / f"play-{method}-{seed}"))]

    def _writer(self, folder: Path) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(str(folder))
        self._opened.callback(writer.close)
        return writer


@contextmanager
def curves_in(folder: Path, wanted: bool) -> Iterator[Curves]:
    """Curves below a run folder for as long as the block runs."""
    with ExitStack() as opened:
        yield Curves(folder / "tensorboard" if wanted else None, opened)


def check_tensorboard() -> None:
    """Raise :class:`UserError` where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the package tensorboard: pip install 'forward-ofa-sim[tensorboard]'")
