"""Other frameworks that train the same network beside ours: RecBole's SASRec and RecTools' SASRec."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.contenders import TRAINING, Contender, Work, endless
from models.backbones.base import DIM
from models.backbones.sasrec import HEADS
from models.checkpoint import Sizes
from strategies.training.data import TrainingSet
from strategies.training.learner import Recipe

RECBOLE_BATCH, RECBOLE_RATE = 2_048, 1e-3
"""Targets a step, and learning rate: RecBole's own defaults (``train_batch_size``, ``learning_rate``)."""

MISSING = (
    "{} is not installed, so nothing is compared with it: pip install -e '.[benchmark]' && "
    "pip install --no-deps recbole==1.2.1 rectools==0.19.0 (benchmarks/README.md says why in two steps)"
)


class Peer(Contender, Protocol):
    """A contender that scores, too."""

    defaults: str
    """How it trains: what it has chosen itself."""

    def scores(self, windows: Tensor) -> Tensor:
        """Of the items that come next after windows ``(N, n)``, left-padded with 0: ``(N, num_items)``."""
        ...


class RecBoleSASRec:
    """RecBole's SASRec of the same size, with its own loss and the optimiser that its trainer makes.

    It trains one target a row: the ``context`` items before it, right-padded, which is what the paper's windows are.
    RecBole 1.2.1 always looks for NaN in every gradient (PyTorch's anomaly detection, switched on when its models are
    imported); ``checked`` says whether this one does.
    """

    def __init__(
        self,
        data: TrainingSet,
        sizes: Sizes,
        recipe: Recipe,
        seed: int,
        rate: float | None = None,
        *,
        checked: bool = True,
    ) -> None:
        """``rate``: the learning rate; None: its own. Raises ``ImportError`` where RecBole is not installed."""
        from recbole.data.interaction import Interaction
        from recbole.model.sequential_recommender.sasrec import SASRec

        torch.autograd.set_detect_anomaly(False)  # importing RecBole switches it on, for everything in this process
        self.checked = checked
        self.title = "RecBole SASRec" if checked else "RecBole unchecked"
        self.interaction = Interaction
        config = {
            "USER_ID_FIELD": "user",
            "ITEM_ID_FIELD": "item",
            "LIST_SUFFIX": "_list",
            "ITEM_LIST_LENGTH_FIELD": "length",
            "NEG_PREFIX": "neg_",
            "MAX_ITEM_LIST_LENGTH": sizes.context,
            "device": torch.device("cpu"),
            "n_layers": sizes.blocks,
            "n_heads": HEADS,
            "hidden_size": DIM,
            "inner_size": DIM,
            "hidden_dropout_prob": recipe.dropout,
            "attn_dropout_prob": 0.0,
            "hidden_act": "relu",
            "layer_norm_eps": 1e-12,
            "initializer_range": 0.02,
            "loss_type": "CE",
        }
        self.model = SASRec(config, _Items(data.num_items + 1)).train()
        rate = rate or RECBOLE_RATE
        self.defaults = f"learning rate {rate:g}, {RECBOLE_BATCH} rows of one target a step"
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate)
        rows = Recipe(targets="last", memory=sizes.context, batch=RECBOLE_BATCH)
        self.batches = endless(data, sizes.context, rows, seed)
        self.row_macs = peer_macs(sizes.blocks, sizes.context) + score_macs(data.num_items)

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def step(self) -> Work:
        batch = next(self.batches)
        rows = self.interaction({"item_list": batch.history, "length": batch.lengths, "item": batch.targets[:, -1]})
        with torch.autograd.set_detect_anomaly(self.checked):
            self.optimizer.zero_grad()
            loss = self.model.calculate_loss(rows)
            loss.backward()
        self.optimizer.step()
        return Work(len(batch.targets), TRAINING * self.row_macs * len(batch.targets))

    @torch.no_grad()
    def scores(self, windows: Tensor) -> Tensor:
        lengths = (windows > 0).sum(1)
        width = windows.shape[1]
        begin = (torch.arange(width) + (width - lengths)[:, None]) % width  # its rows are padded on the right
        self.model.eval()
        found: Tensor = self.model.full_sort_predict(
            self.interaction({"item_list": windows.gather(1, begin), "length": lengths})
        )
        self.model.train()
        return found[:, 1:]  # it scores the padding, too


@dataclass(frozen=True)
class _Items:
    """All that RecBole's model asks of a data set."""

    number: int

    def num(self, field: str) -> int:
        """Items, with the padding."""
        return self.number


class RecToolsSASRec:
    """RecTools' SASRec of the same size: its Lightning module's own training step on its own data loader's batches.

    RecTools makes one row of each user's last ``context + 1`` items and leaves out all before them. Here it gets every
    history in pieces of that many items, each piece as a user of its own and the last item of one the first of the
    next, so that it trains on each target once an epoch, as the others do. Attention has the same dropout as the rest.
    What Lightning's loop does around a step (hooks, and the log of the loss) is left out.
    """

    title = "RecTools SASRec"

    def __init__(self, data: TrainingSet, sizes: Sizes, recipe: Recipe, seed: int, rate: float | None = None) -> None:
        """``rate``: the learning rate; None: its own. Raises ``ImportError`` where RecTools is not installed."""
        from rectools.dataset import Dataset
        from rectools.models import SASRecModel

        with _quiet():
            model = SASRecModel(
                n_blocks=sizes.blocks,
                n_heads=HEADS,
                n_factors=DIM,
                dropout_rate=recipe.dropout,
                session_max_len=sizes.context,
                loss="softmax",
                get_trainer_func=_no_training,
                **({} if rate is None else {"lr": rate}),
            )
            model.fit(Dataset.construct(pieces(data, sizes.context)))
        self.module = model.lightning_model
        self.module.log = lambda *args, **options: None
        self.module.on_train_start()  # draws the first weights
        self.module.train()
        self.optimizer = self.module.configure_optimizers()
        self.loader = model.data_preparator.get_dataloader_train()
        self.defaults = f"learning rate {model.lr:g}, {model.batch_size} windows a step"
        self.known = torch.from_numpy(np.asarray(model.data_preparator.get_known_item_ids(), dtype=np.int64))
        """Items of the histories in its order, which begins behind the padding."""
        self.number = torch.zeros(data.num_items + 1, dtype=torch.long)
        self.number[self.known] = torch.arange(1, len(self.known) + 1)
        self.batches = self._endless()
        self.window_macs = peer_macs(sizes.blocks, sizes.context)

    def _endless(self) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from self.loader

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def step(self) -> Work:
        batch = next(self.batches)
        loss = self.module.training_step(batch, 0)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        targets = int((batch["y"] > 0).sum())
        macs = len(batch["x"]) * self.window_macs + targets * score_macs(len(self.known))
        return Work(targets, TRAINING * macs)

    @torch.no_grad()
    def scores(self, windows: Tensor) -> Tensor:
        """As in :class:`Peer`; an item that no history holds is unknown to RecTools, and minus infinity."""
        self.module.eval()
        network = self.module.torch_model
        items = network.item_model.get_all_embeddings()
        states = network.encode_sessions({"x": self.number[windows]}, items)[:, -1]
        self.module.train()
        found = torch.full((len(windows), len(self.number)), -torch.inf)
        found[:, self.known] = states @ items[1:].T
        return found[:, 1:]


def pieces(data: TrainingSet, context: int) -> pd.DataFrame:
    """The histories as RecTools reads interactions, in pieces of ``context + 1`` items that share their ends.

    A piece is a user of its own; one row an interaction, times count up.
    """
    from rectools import Columns

    users: list[np.ndarray] = []
    items: list[np.ndarray] = []
    for start, end in zip(data.offsets[:-1].tolist(), data.offsets[1:].tolist(), strict=True):
        for first in range(start, end - 1, context):
            piece = data.items[first : min(first + context + 1, end)]
            users.append(np.full(len(piece), len(items)))
            items.append(piece)
    count = sum(map(len, items))
    return pd.DataFrame(
        {
            Columns.User: np.concatenate(users),
            Columns.Item: np.concatenate(items).astype(np.int64),
            Columns.Weight: np.ones(count),
            Columns.Datetime: pd.to_datetime(np.arange(count), unit="s"),
        }
    )


def peer_macs(blocks: int, context: int) -> int:
    """Forward, of one window, without scores: a block has six linear layers 64 x 64, one more than ours."""
    return blocks * (6 * context * DIM * DIM + 2 * context * context * DIM)


def score_macs(num_items: int) -> int:
    """The scores of one position; the padding is scored too."""
    return (num_items + 1) * DIM


def peers(
    data: TrainingSet,
    sizes: Sizes,
    recipe: Recipe,
    seed: int,
    say: Callable[[str], None],
    *,
    checked: Sequence[bool] = (True, False),
    rate: float | None = None,
) -> list[Peer]:
    """Those that are installed; of each other one ``say`` gets a line. ``checked``: which of RecBole's two."""
    kinds: dict[str, list[Callable[..., Peer]]] = {
        "RecBole": [partial(RecBoleSASRec, checked=one) for one in checked],
        "RecTools": [RecToolsSASRec],
    }
    found: list[Peer] = []
    for name, makers in kinds.items():
        try:
            found += [make(data, sizes, recipe, seed, rate) for make in makers]
        except ImportError as error:
            say(f"{MISSING.format(name)} ({error})")
    return found


def _no_training() -> Any:
    """A Lightning trainer with which fitting builds model and data set and trains no epoch."""
    from pytorch_lightning import Trainer

    return Trainer(
        max_epochs=0,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Lightning says of accelerators that are not there, and what RecTools warns of its own."""
    lightning = logging.getLogger("pytorch_lightning")
    before = lightning.level
    lightning.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        lightning.setLevel(before)
