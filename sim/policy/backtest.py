"""Backtests: trial sessions on the devices' histories, whose last fifth is played as if it were live.

Thresholds of request policies and the mis-recommendation detector are fitted to these sessions alone. They consist of
histories and validation items, which the cloud has; no live event is read.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from clients import inference, local_training
from clients.decision import losses
from clients.local_data import SessionEvents, recent, session_events
from core.seeds import numpy_generator
from models.checkpoint import Installed
from models.hypernetwork import AnyMapper, block_weights
from models.metrics import CUTOFF
from sim.data.interactions import Interactions
from sim.world.streams import SHORTEST, Streams, build_streams
from strategies.training.detector import Samples

BATCH = 64
"""Trial sessions whose networks exist at one time."""


class Backtest:
    """S trial sessions of the devices whose history is long enough for one."""

    def __init__(
        self,
        installed: Installed,
        mapper: AnyMapper | None,
        interactions: Interactions,
        streams: Streams,
        *,
        session_length: int,
        session_gap: float,
        context: int,
        history_length: int,
    ) -> None:
        """``mapper`` is the cloud's side of an adaptive method; without one, devices train their own networks."""
        self.installed, self.mapper, self.context = installed, mapper, context
        self.history_length = history_length
        self.devices = np.flatnonzero(streams.live_start >= SHORTEST["stream"])
        """The devices of the streams that have trial sessions, in order."""
        self.streams = _histories(interactions, streams, self.devices, session_length, session_gap)
        self.length = session_length

    @property
    def sessions(self) -> int:
        """How many trial sessions there are; session 0 of a device is where it gets its first network."""
        return self.streams.num_sessions

    @cached_property
    def numbers(self) -> np.ndarray:
        """``(S,)``: which session of its device each is, from 0."""
        found: np.ndarray = np.arange(self.sessions) - self.streams.session_offsets[self.streams.session_devices]
        return found

    @cached_property
    def interests(self) -> np.ndarray:
        """``(S, 64)``: the latent interest at the beginning of each session."""
        parts = [
            inference.interest(
                self.installed.part, *recent([self._past(row) for row in rows.tolist()], self.history_length)
            ).numpy()
            for rows in _batches(np.arange(self.sessions))
        ]
        return np.concatenate(parts) if parts else np.zeros((0, 64), dtype=np.float32)

    @cached_property
    def first_losses(self) -> list[np.ndarray]:
        """The losses of the events of each session, with the device's first network."""
        first = np.arange(self.sessions) - self.numbers
        found = self.ranks(first, np.arange(self.sessions))
        return [losses(row[row > 0], self.installed.part.backbone.num_items) for row in found]

    def ranks(self, made: np.ndarray, played: np.ndarray) -> np.ndarray:
        """Rank of each event of the sessions ``played`` ``(P,)`` with the networks of the sessions ``made`` ``(P,)``.

        ``(P, session_length)``, 0 where there is no prediction.
        """
        out = np.zeros((len(played), self.length), dtype=np.int64)
        for rows in _batches(np.arange(len(played))):
            events = session_events(
                [self._past(row) for row in played[rows].tolist()],
                [self._during(row) for row in played[rows].tolist()],
                self.context,
                self.installed.candidates,
            )
            found = self._play(made[rows], events)
            out[rows, : found.shape[1]] = found.numpy()
        return out

    def samples(self, seed: int) -> Samples:
        """What a mis-recommendation detector learns from: every session but the first of a device, each played with the
        network of an earlier one, drawn from (seed, session)."""
        played = np.flatnonzero(self.numbers > 0)
        draws = numpy_generator(seed, "detector", "pairs").random(len(played))
        made = played - 1 - np.floor(draws * self.numbers[played]).astype(np.int64)
        ranks = self.ranks(made, played)
        right = ((ranks > 0) & (ranks <= CUTOFF)).sum(axis=1) / np.maximum((ranks > 0).sum(axis=1), 1)
        following = np.array([self._during(row)[0] for row in played.tolist()], dtype=np.int64)
        return Samples(
            torch.from_numpy(self.interests[made]),
            torch.from_numpy(self.interests[played]),
            torch.from_numpy(following),
            torch.from_numpy(right.astype(np.float32)),
        )

    @torch.inference_mode()
    def _play(self, made: np.ndarray, events: SessionEvents) -> Tensor:
        part, mapper = self.installed.part, self.mapper
        past = [self._past(row) for row in made.tolist()]
        if mapper is None:
            assert self.installed.network is not None
            with torch.inference_mode(False):
                tuned = local_training.tune(
                    part, self.installed.network, past, candidates=self.installed.candidates
                ).weights
            return inference.rerank(part, events, lambda k, r: tuned[k] if r is None else tuned[k][r], None).ranks
        wanted = inference.request(part, *recent(past, self.history_length))
        weights = block_weights(mapper.block, wanted.latent)
        return inference.rerank(part, events, weights, wanted.path).ranks

    def _past(self, row: int) -> np.ndarray:
        start = int(self.streams.offsets[self.streams.session_devices[row]])
        return self.streams.items[start : start + int(self.streams.session_starts[row])]

    def _during(self, row: int) -> np.ndarray:
        start = int(self.streams.offsets[self.streams.session_devices[row]])
        return self.streams.items[start + int(self.streams.session_starts[row]) : start + int(self._ends[row])]

    @cached_property
    def _ends(self) -> np.ndarray:
        return self.streams.session_ends


def _histories(
    interactions: Interactions, streams: Streams, devices: np.ndarray, session_length: int, session_gap: float
) -> Streams:
    """The histories with the validation item as their last event, split and cut as the streams themselves are."""
    rows = [np.arange(s, s + n) for s, n in zip(streams.offsets[devices], streams.live_start[devices], strict=True)]
    kept = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    histories = replace(
        interactions,
        offsets=np.concatenate(([0], np.cumsum(streams.live_start[devices]))).astype(np.int64),
        items=np.array(streams.items[kept]),
        times=np.array(streams.times[kept]),
        user_ids=[interactions.user_ids[user] for user in streams.users[devices]],
        change_points=np.full(len(devices), -1, dtype=np.int64),
    )
    return build_streams(
        histories, np.arange(len(devices)), session_length=session_length, session_gap_minutes=session_gap
    )


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
