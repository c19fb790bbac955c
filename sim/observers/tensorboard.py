"""Curves for TensorBoard while a run goes on: ``--tensorboard``, then ``tensorboard --logdir RUN``.

One folder below ``RUN/tensorboard`` for each trained model and each played method, so that TensorBoard draws them into
the same charts. A run that is continued writes its curves anew, from the beginning.
"""

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError
from sim.observers.progress import Playing
from strategies.training.loop import EpochRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Curves:
    """The event files of a run; without a folder nothing is written."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._open: dict[str, tuple[SummaryWriter, int]] = {}
        """Writers and how many points each has written."""

    def epochs(self, model: str, seed: int, records: Sequence[EpochRecord]) -> None:
        """The epochs of a training so far; those that were written before are passed over."""
        if self.folder is None:
            return
        writer, written = self._writer(f"train-{model}-{seed}")
        for record in records[written:]:
            writer.add_scalar("training/loss", record.loss, record.epoch)
            writer.add_scalar("validation/NDCG@10", record.valid_ndcg, record.epoch)
            writer.add_scalar("validation/Hit@10", record.valid_hit, record.epoch)
        self._open[f"train-{model}-{seed}"] = writer, len(records)

    def quality(self, method: str, seed: int, work: Playing) -> None:
        """What a method's sessions gave so far, against the number of sessions."""
        if self.folder is None:
            return
        writer, _ = self._writer(f"play-{method}-{seed}")
        at = int(work.sums["sessions"])
        writer.add_scalar("sessions/NDCG@10", work.ndcg, at)
        writer.add_scalar("sessions/served", work.sums["served"] / at, at)
        writer.add_scalar("sessions/requests", work.sums["requested"], at)
        writer.add_scalar("sessions/megabits", work.megabits, at)

    def close(self) -> None:
        """Write what is still in memory."""
        for writer, _ in self._open.values():
            writer.close()

    def _writer(self, name: str) -> "tuple[SummaryWriter, int]":
        if name not in self._open:
            from torch.utils.tensorboard import SummaryWriter

            assert self.folder is not None
            shutil.rmtree(self.folder / name, ignore_errors=True)
            self._open[name] = SummaryWriter(str(self.folder / name)), 0
        return self._open[name]


@contextmanager
def curves_in(folder: Path, wanted: bool) -> Iterator[Curves]:
    """Curves below a run folder for as long as the block runs."""
    curves = Curves(folder / "tensorboard" if wanted else None)
    try:
        yield curves
    finally:
        curves.close()


def check_tensorboard() -> None:
    """Raise :class:`UserError` where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the package tensorboard: pip install 'forward-ofa-sim[tensorboard]'")
