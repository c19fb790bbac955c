"""Networks that no device could have: what becomes of a finished run's sessions with knowledge of the future.

Each function plays sessions again (:class:`replay.counterfactual.PlayedSessions`) and gives the rows of one or several
networks. What they reach is a bound on what the method could gain by knowing more, not a method.

============== =====================================================================================================
``this``       the network made when the device has also read the items of the session that is played
``next``       the network made when it has also read those of the session after that, in place of the played one's
``since``      the network made when it has read only the items since the user's interest last changed
``path``       of all paths the one that ranks the session's own items best, chosen for each device-session
``path-else``  the path that is best in the device's other sessions
``tuned``      the network of the device's first session, trained on its whole live stream
``tuned-else`` the same, trained on every other session; it plays those that it has not learnt from
============== =====================================================================================================

``this``, ``path`` and ``tuned`` know the very items that they are judged by. The maximum over many paths of a quality
that is measured on a few events is high by chance alone, and so is a network trained on what it ranks; ``next``,
``path-else`` and ``tuned-else`` know the same of the device's future, but not the answers. ``since`` knows nothing of
it: it is told when to forget.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core import sealed
from core.errors import UserError
from core.run_folder import WORLD_FIX
from models.candidates import Seen, repeats, seen_before
from models.hypernetwork import block_weights
from models.kernels.softmax_loss import full_softmax_loss
from replay.counterfactual import PlayedSessions, chunks

MOST_PATHS = 256
"""Paths that are tried: with more, the command would take hours."""
STEPS, LEARNING_RATE = 10, 1e-3
"""Of the training on the live stream: Adam's, as many targets in each step as there are."""
DEVICES = 32
"""Devices that are trained at once."""


def future(played: PlayedSessions) -> pd.DataFrame:
    """``this`` and ``next``; a device's last session has no next one, and no row of it."""
    everyone = np.arange(len(played))
    later = np.array([played.storage.has(d, s + 1) for d, s in played.device_sessions.tolist()])
    following = [np.asarray(played.storage.during(d, s + 1)) for d, s in played.device_sessions[later].tolist()]
    frames = []
    for network, rows, added in (("this", everyone, played.during(everyone)), ("next", everyone[later], following)):
        read = [np.concatenate(both) for both in zip(played.before(rows), added, strict=True)]
        frames += _made_of(read, played, network, rows)
    return pd.concat(frames, ignore_index=True)


def since_change(played: PlayedSessions) -> list[pd.DataFrame]:
    """``since``, for the sessions before which an interest has changed and an item of the new one was met, as far as
    changes are known."""
    world = sealed.map_arrays(played.world, ("switch_offsets", "switches"), WORLD_FIX)
    changes = np.split(world["switches"], world["switch_offsets"][1:-1])
    rows, read = [], []
    for row, past in enumerate(played.before(np.arange(len(played)))):
        met = changes[played.device_sessions[row, 0]]
        met = met[met < len(past)]
        if len(met):
            rows.append(row)
            read.append(past[met[-1] :])
    return _made_of(read, played, "since", np.array(rows)) if rows else []


def _made_of(read: list[np.ndarray], played: PlayedSessions, network: str, rows: np.ndarray) -> list[pd.DataFrame]:
    """The sessions in ``rows`` ``(n,)``, by networks made of what the devices have ``read``."""
    paths, latents = played.requests(read)
    return [played.play_made(network, rows[some], paths[some], latents[some]) for some in chunks(np.arange(len(rows)))]


def every_path(played: PlayedSessions, rows: np.ndarray) -> pd.DataFrame:
    """``path`` and ``path-else`` for the sessions in ``rows`` ``(n,)``.

    A block that the device keeps in all of its sessions and every other device, too, stays. Of paths that are as good
    the device's own one counts. Raises :class:`UserError` if there are more than :data:`MOST_PATHS`.
    """
    own, _ = played.requests(played.before(rows))
    free = np.flatnonzero(~own.all(axis=0))
    if 2 ** len(free) > MOST_PATHS:
        raise UserError(f"devices choose among {2 ** len(free):,} paths; at most {MOST_PATHS} can be tried")
    options = np.ones((2 ** len(free), own.shape[1]), dtype=bool)
    options[:, free] = np.arange(len(options))[:, None] >> np.arange(len(free)) & 1 == 1
    found = pd.concat(
        [
            played.play_on("path", some, np.broadcast_to(path, (len(some), len(path))).copy())
            for path in options
            for some in chunks(rows)
        ],
        ignore_index=True,
    )
    key = ["device", "session"]
    wide = found.pivot(index=key, columns="path", values="ndcg")
    mine = wide.columns.get_indexer((own @ (1 << np.arange(own.shape[1]))).tolist())
    mine = mine[pd.MultiIndex.from_arrays(played.device_sessions[rows].T).get_indexer(wide.index)]
    rest = wide.groupby(level="device").transform("sum") - wide
    chosen = {"path": wide.columns[best(wide.to_numpy(), mine)], "path-else": wide.columns[best(rest.to_numpy(), mine)]}
    return pd.concat(
        [
            found.merge(pd.DataFrame({"path": paths}, index=wide.index).reset_index(), on=[*key, "path"]).assign(
                network=network
            )
            for network, paths in chosen.items()
        ],
        ignore_index=True,
    )


def best(values: np.ndarray, preferred: np.ndarray, slack: float = 1e-9) -> np.ndarray:
    """The column of the highest of the ``values`` ``(n, P)`` in each row; the ``preferred`` ``(n,)`` if none is higher
    by more than ``slack``, which sums in another order may differ by."""
    rows = np.arange(len(values))
    highest = values.argmax(axis=1)
    return np.where(values[rows, highest] > values[rows, preferred] + slack, highest, preferred)


def tuned(played: PlayedSessions, devices: np.ndarray) -> pd.DataFrame:
    """``tuned`` and ``tuned-else`` for all sessions of these ``devices`` ``(n,)``."""
    frames = []
    for start in range(0, len(devices), DEVICES):
        some = devices[start : start + DEVICES]
        live = LiveStreams(played, some)
        rows = np.flatnonzero(np.isin(played.device_sessions[:, 0], some))
        parity = played.device_sessions[rows, 1] % 2
        whole = live.train(live.sessions >= 0)
        frames.append(live.play("tuned", rows, whole))
        for half in (0, 1):
            trained = live.train((live.sessions >= 0) & (live.sessions % 2 != half))
            frames.append(live.play("tuned-else", rows[parity == half], trained))
    return pd.concat(frames, ignore_index=True)


class LiveStreams:
    """The live streams of ``D`` devices as training windows, and the networks of the devices' first sessions."""

    def __init__(self, played: PlayedSessions, devices: np.ndarray) -> None:
        self.played, self.devices, storage = played, devices, played.storage
        context = played.part.backbone.context
        items = [np.asarray(storage.items[storage.offsets[d] : storage.offsets[d + 1]]) for d in devices.tolist()]
        starts = [storage.session_starts[storage.session_offsets[d] : storage.session_offsets[d + 1]] for d in devices]
        cut = [places(int(begin[0]), len(line), context) for line, begin in zip(items, starts, strict=True)]
        where = np.zeros((len(devices), max(map(len, cut)), context), dtype=np.int64)
        for row, mine in enumerate(cut):
            where[row, : len(mine)] = mine
        windows, targets = np.zeros_like(where), np.zeros_like(where)
        self.sessions = np.full_like(where, -1)
        """``(D, R, context)``: in which session each target lies; -1 where none is live and a candidate."""
        for row, (line, begin) in enumerate(zip(items, starts, strict=True)):
            mine = where[row] >= 1  # what is at place 0 follows nothing
            target = where[row][mine]
            windows[row][mine], targets[row][mine] = line[target - 1], line[target]
            session = np.searchsorted(begin, target, side="right") - 1  # -1: in the history
            if played.installed.candidates == "unseen":
                session = np.where(repeats(np.array([0, len(line)]), line)[target], -1, session)
            self.sessions[row][mine] = session
        self.windows, self.targets = torch.from_numpy(windows), torch.from_numpy(targets)
        self.seen = seen_before(items, where.clip(min=0)) if played.installed.candidates == "unseen" else None
        first = [line[: int(begin[0])] for line, begin in zip(items, starts, strict=True)]
        self.paths, self.latent = played.requests(first)

    def train(self, learnt: np.ndarray) -> Callable[[int, Tensor | None], Tensor]:
        """Train each device's network on its targets that are ``learnt`` ``(D, R, context)`` bool; gives the weights of
        block k of the devices in ``rows``."""
        part, keep = self.played.part, torch.from_numpy(self.paths)
        made = block_weights(self.played.mapper.block, self.latent)
        weights = {
            k: made(k, keep[:, k].nonzero().squeeze(1)).clone().requires_grad_(True)
            for k in range(part.backbone.blocks)
            if keep[:, k].any()
        }
        real = torch.from_numpy(learnt)
        count = real.sum(dim=(1, 2)).clamp(min=1).to(torch.float32)
        share = (1 / count)[:, None, None].expand(real.shape)[real]
        seen: Seen | None = None if self.seen is None else self.seen[real]
        with torch.enable_grad():
            optimizer = torch.optim.Adam(list(weights.values()), lr=LEARNING_RATE)
            for _ in range(STEPS if len(share) else 0):
                states = part.backbone.encode(self.windows, lambda k, rows: weights[k], keep=keep)
                loss = full_softmax_loss(states[real], part.backbone.items, self.targets[real], share, seen=seen)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        place = keep.cumsum(dim=0) - 1
        found = {k: mine.detach() for k, mine in weights.items()}
        return lambda k, rows: found[k] if rows is None else found[k][place[rows, k]]

    def play(self, network: str, rows: np.ndarray, weights: Callable[[int, Tensor | None], Tensor]) -> pd.DataFrame:
        """Play the device-sessions ``rows`` of these devices with their networks."""
        frames = []
        for some in chunks(rows):
            whose = np.searchsorted(self.devices, self.played.device_sessions[some, 0])
            owner = torch.from_numpy(whose)

            def mine(k: int, chosen: Tensor | None, owner: Tensor = owner) -> Tensor:
                return weights(k, owner if chosen is None else owner[chosen])

            frames.append(self.played.play(network, some, self.paths[whose], mine))
        return pd.concat(frames, ignore_index=True)


def places(first: int, end: int, context: int) -> np.ndarray:
    """Which places of a stream are predicted in windows ``(R, context)`` that hold ``first`` to ``end - 1``; the last
    one ends with the stream, and the first may begin before ``first``, or before the stream, with negative places."""
    return np.arange(end - -(-(end - first) // context) * context, end).reshape(-1, context)
