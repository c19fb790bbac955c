"""The Flower ClientApp: every device of every method runs this.

A device reads its own interactions from its own disk, computes what :mod:`clients.device` says, and sends nothing but
what :mod:`clients.protocol` names. All handlers are written for a list of devices; a real device is a list of one.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from torch import Tensor

from clients import ablations, device, finetune
from clients.batching import BatchClientApp
from clients.budget import Budget
from clients.installed import play
from clients.memory import Weights
from clients.protocol import MEASURED, NETWORK, Order, pack_decline, pack_probe, pack_request, read_network
from clients.requests import Rules, choose, decide, note_losses
from clients.storage import open_storage, recent, session_windows
from models.checkpoint import Installed, load_device
from models.networks import Footprint, footprint

app = BatchClientApp()


@app.query_many("register")
def register(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Say which of the simulated devices this node is."""
    return [
        _reply(message, {"device": MetricRecord({"partition": _device(context)})})
        for message, context in zip(messages, contexts, strict=True)
    ]


@app.train_many()
def ask(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Step 1 of a session: extract path and latent interest from the recent interactions, and send them.

    By its request policy a device may do without.
    """
    return _ask(messages, contexts)


@app.train_many("unstructured")
def ask_unstructured(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The same where the latent interest knows nothing of the path."""
    return _ask(messages, contexts, structural=False)


@app.train_many("random")
def ask_random(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The same with other blocks than the controller's: as many, drawn at random."""
    return _ask(messages, contexts, ablations.random_blocks)


@app.train_many("first")
def ask_first(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """As many, from the front."""
    return _ask(messages, contexts, ablations.first_blocks)


@app.train_many("last")
def ask_last(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """As many, from the back."""
    return _ask(messages, contexts, ablations.last_blocks)


def _ask(
    messages: list[Message],
    contexts: list[Context],
    redraw: ablations.Redraw | None = None,
    structural: bool = True,
) -> list[Message]:
    order, installed = _open(messages)
    sessions = [Order.of(message).session for message in messages]
    storage = open_storage(order.world)
    past = [storage.before(_device(c), s) for c, s in zip(contexts, sessions, strict=True)]
    history, lengths = recent(past, order.memory)
    part = installed.part
    most = torch.tensor(
        [
            Budget.of(message).blocks_to_fetch(part, order.context, length)
            for message, length in zip(messages, lengths.tolist(), strict=True)
        ]
    )
    affordable = most >= (0 if part.controller is not None else part.backbone.blocks)
    wanted = device.request(part, history, lengths, most, structural=structural)
    paths, latents = wanted.path.numpy(), wanted.latent.numpy()
    if redraw is not None:
        where = [(Order.of(m), _device(c)) for m, c in zip(messages, contexts, strict=True)]
        paths = np.stack([redraw(path, *place) for path, place in zip(paths, where, strict=True)])
    replies = []
    for row, (message, context) in enumerate(zip(messages, contexts, strict=True)):
        rules, macs = Rules.of(message), part.request_macs(int(lengths[row]))
        asks = rules is None or decide(rules, _device(context), sessions[row], latents[row])
        deciding = 0 if rules is None else rules.decision_macs(0 if asks else macs)
        answer: Mapping[str, ArrayRecord | MetricRecord] = pack_decline(deciding)
        if affordable[row] and asks:
            answer = pack_request(paths[row], latents[row], macs + deciding)
        elif affordable[row] and rules is not None and rules.compare:
            answer = pack_probe(paths[row], latents[row], deciding)
        replies.append(_reply(message, answer))
    return replies


@app.evaluate_many()
def rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Step 3: play the session with the network the cloud sent, else with the remembered or the installed one.

    A network that does not fit today's budget is not run: the device ranks by popularity instead.
    """
    order, installed = _open(messages)
    blocks = installed.part.backbone.blocks
    windows, targets = _session(messages, contexts, order)
    if installed.network is not None:
        everything = np.ones((len(messages), blocks), dtype=bool)
        return _play_installed(messages, order, installed, windows, targets, everything, np.zeros(len(messages)))
    most = np.array([Budget.of(message).blocks_to_run(installed.part, order.context) for message in messages])
    networks = [read_network(message, blocks) if NETWORK in message.content else None for message in messages]
    return _play_own(messages, contexts, order, installed, windows, targets, networks, most)


@app.evaluate_many("controller")
def choose_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of a device that chooses a path in the installed network: nothing is asked of the cloud."""
    order, installed = _open(messages)
    windows, targets = _session(messages, contexts, order)
    storage, part = open_storage(order.world), installed.part
    past = [storage.before(_device(c), Order.of(m).session) for m, c in zip(messages, contexts, strict=True)]
    history, lengths = recent(past, order.memory)
    spent = np.array([part.request_macs(int(length)) for length in lengths])
    most = torch.tensor(
        [Budget.of(m).blocks_to_run(part, order.context, int(macs)) for m, macs in zip(messages, spent, strict=True)]
    )
    paths = device.path(part, history, lengths, most).numpy()
    return _play_installed(messages, order, installed, windows, targets, paths, spent)


def _play_installed(
    messages: list[Message],
    order: Order,
    installed: Installed,
    windows: Tensor,
    targets: Tensor,
    wanted: np.ndarray,
    spent: np.ndarray,
) -> list[Message]:
    """Play with blocks of the installed network; ``spent`` are the multiply-accumulates before the session."""
    played = play(installed, windows, targets, [Budget.of(message) for message in messages], wanted, spent)
    quality = _or_popular(installed, targets, played.quality, played.served)
    return _report(
        messages, installed, order, quality, played.paths, played.served, spent, footprints=played.footprints
    )


@app.evaluate_many("finetune")
def finetune_and_rerank(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """The whole session of method Finetune: train on the device's own history, then play.

    A device whose energy does not allow the training plays the installed network as it is.
    """
    order, installed = _open(messages)
    part, network = installed.part, installed.network
    assert network is not None
    windows, targets = _session(messages, contexts, order)
    storage = open_storage(order.world)
    past = [
        storage.before(_device(context), Order.of(message).session)
        for message, context in zip(messages, contexts, strict=True)
    ]
    planned = finetune.training_macs(part, *finetune.training_windows(past, part.backbone.context))
    budgets = [Budget.of(message) for message in messages]
    blocks = part.backbone.blocks
    served = np.array([budget.blocks_to_run(part, order.context) == blocks for budget in budgets])
    trains = np.array(
        [
            budget.blocks_to_run(part, order.context, int(macs)) == blocks
            for budget, macs in zip(budgets, planned, strict=True)
        ]
    )
    rules = [Rules.of(message) for message in messages]
    if any(rules):
        return _tune_by_rules(messages, contexts, order, installed, past, trains, served, planned)
    able = np.flatnonzero(trains).tolist()
    tuned = finetune.tune(part, network, [past[row] for row in able]).weights if able else []
    where = torch.from_numpy(np.cumsum(trains) - 1)

    def weights(k: int, rows: Tensor | None) -> Tensor:
        """Trained weights of the devices that trained, installed ones of the others."""
        if trains.all():
            return tuned[k] if rows is None else tuned[k][rows]
        chosen = torch.arange(len(messages)) if rows is None else rows
        out = network[k].expand(len(chosen), -1).clone()
        mine = torch.from_numpy(trains)[chosen]
        if mine.any():
            out[mine] = tuned[k][where[chosen[mine]]]
        return out

    paths = np.repeat(served[:, None], blocks, axis=1)
    quality = device.rerank(part, windows, targets, weights, _keep(paths))
    quality = _or_popular(installed, targets, quality, served)
    return _report(messages, installed, order, quality, paths, served, np.where(trains, planned, 0))


def _tune_by_rules(
    messages: list[Message],
    contexts: list[Context],
    order: Order,
    installed: Installed,
    past: list[np.ndarray],
    trains: np.ndarray,
    served: np.ndarray,
    planned: np.ndarray,
) -> list[Message]:
    """Finetune where request policies say when to train: in between, a device plays what it trained last."""
    part, network = installed.part, installed.network
    assert network is not None
    interests = device.interest(part, *recent(past, order.memory)).numpy()
    asks, wanted = np.zeros(len(messages), dtype=bool), np.zeros(len(messages), dtype=bool)
    deciding = np.zeros(len(messages), dtype=np.int64)
    for row, (message, context) in enumerate(zip(messages, contexts, strict=True)):
        rules, session = Rules.of(message), Order.of(message).session
        asks[row] = rules is None or decide(rules, _device(context), session, interests[row])
        wanted[row] = trains[row] and (asks[row] or (rules is not None and rules.compare))
        deciding[row] = 0 if rules is None else rules.decision_macs(0)
    rows = np.flatnonzero(wanted).tolist()
    tuned = finetune.tune(part, network, [past[row] for row in rows]).weights if rows else []
    everything = np.ones(part.backbone.blocks, dtype=bool)
    made: list[tuple[np.ndarray, Weights] | None] = [None] * len(messages)
    for place, row in enumerate(rows):
        made[row] = (everything, {k: block[place].numpy() for k, block in enumerate(tuned)})
    base = (everything, {k: block[0].detach().numpy() for k, block in enumerate(network)})
    windows, targets = _session(messages, contexts, order)
    most = np.where(served, part.backbone.blocks, -1)
    spent = np.where(asks & trains, planned, 0)
    return _play_own(messages, contexts, order, installed, windows, targets, made, most, base, spent, deciding)


def _play_own(
    messages: list[Message],
    contexts: list[Context],
    order: Order,
    installed: Installed,
    windows: Tensor,
    targets: Tensor,
    made: list[tuple[np.ndarray, Weights] | None],
    most: np.ndarray,
    base: tuple[np.ndarray, Weights] | None = None,
    macs_adapt: np.ndarray | None = None,
    macs_decide: np.ndarray | None = None,
) -> list[Message]:
    """Play a session with each device's own network: the one just ``made`` for it, else the one it remembers, or
    ``base``, as long as it has no more blocks than the device can run (``most``)."""
    rules = [Rules.of(message) for message in messages]
    now, other = list(made), list(made)
    adapted = np.array([network is not None for network in made])
    for row, (message, context, rule) in enumerate(zip(messages, contexts, rules, strict=True)):
        if rule is None:
            continue
        choice = choose(rule, _device(context), Order.of(message).session, made[row])
        stale = base if choice.stale is None else (choice.stale.path, choice.stale.weights)
        adapted[row] = choice.adapted
        now[row] = made[row] if choice.adapted else stale
        other[row] = (stale if choice.adapted else made[row]) or now[row]
    quality, paths, served = _play(installed, windows, targets, now, most)
    compared: list[dict[str, float]] | None = None
    if any(rule is not None and rule.compare for rule in rules):
        against = _play(installed, windows, targets, other, most)[0]
        compared = [
            {
                "hits_stale": int((against if fresh else quality).hits[row]),
                "ndcg_stale": float((against if fresh else quality).ndcg[row]),
                "hits_fresh": int((quality if fresh else against).hits[row]),
                "ndcg_fresh": float((quality if fresh else against).ndcg[row]),
            }
            for row, fresh in enumerate(adapted.tolist())
        ]
    for row, (message, context, rule) in enumerate(zip(messages, contexts, rules, strict=True)):
        if rule is not None:
            ranks = quality.ranks[row][targets[row] > 0].numpy()
            note_losses(rule, _device(context), Order.of(message).session, ranks, installed.part.backbone.num_items)
    return _report(messages, installed, order, quality, paths, served, macs_adapt, macs_decide, compared)


def _play(
    installed: Installed,
    windows: Tensor,
    targets: Tensor,
    networks: list[tuple[np.ndarray, Weights] | None],
    most: np.ndarray,
) -> tuple[device.Quality, np.ndarray, np.ndarray]:
    """Quality, paths ``(D, L)``, who was served ``(D,)``; without a network it can run a device ranks by popularity."""
    networks = [n if n is not None and n[0].sum() <= fits else None for n, fits in zip(networks, most, strict=True)]
    served = np.array([network is not None for network in networks])
    nothing = np.zeros(installed.part.backbone.blocks, dtype=bool)
    paths = np.stack([nothing if n is None else n[0] for n in networks])
    own = [{} if n is None else n[1] for n in networks]

    def weights(k: int, rows: Tensor | None) -> Tensor:
        """Block ``k`` of the devices that have it, one at a time from what they hold."""
        return torch.from_numpy(np.stack([mine[k] for mine in own if k in mine]))

    quality = device.rerank(installed.part, windows, targets, weights, torch.from_numpy(paths))
    return _or_popular(installed, targets, quality, served), paths, served


@lru_cache(maxsize=8)
def _install(model: str) -> Installed:
    """What is installed on the devices; one copy per process, read-only."""
    return load_device(Path(model))


def _open(messages: list[Message]) -> tuple[Order, Installed]:
    """The order of the first message (all name the same world and model) and what is installed."""
    order = Order.of(messages[0])
    return order, _install(order.model)


def _device(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _session(messages: list[Message], contexts: list[Context], order: Order) -> tuple[Tensor, Tensor]:
    storage = open_storage(order.world)
    where = [(_device(c), Order.of(m).session) for m, c in zip(messages, contexts, strict=True)]
    return session_windows(
        [storage.before(d, s) for d, s in where], [storage.during(d, s) for d, s in where], order.context
    )


def _keep(paths: np.ndarray) -> Tensor | None:
    """The paths ``(D, L)`` as the backbone takes them; None where everybody runs everything."""
    return None if paths.all() else torch.from_numpy(paths)


def _or_popular(installed: Installed, targets: Tensor, quality: device.Quality, served: np.ndarray) -> device.Quality:
    """The measured quality where a device was served, that of the most popular items elsewhere."""
    fallback, have = device.popular(installed.part, targets), torch.from_numpy(served)
    return device.Quality(
        quality.events,
        torch.where(have, quality.hits, fallback.hits),
        torch.where(have, quality.ndcg, fallback.ndcg),
        torch.where(have.unsqueeze(1), quality.ranks, fallback.ranks),
    )


def _report(
    messages: list[Message],
    installed: Installed,
    order: Order,
    quality: device.Quality,
    paths: np.ndarray,
    served: np.ndarray,
    macs_adapt: np.ndarray | None = None,
    macs_decide: np.ndarray | None = None,
    compared: list[dict[str, float]] | None = None,
    footprints: list[Footprint] | None = None,
) -> list[Message]:
    """The measurements of a session. A device that was not served ran nothing."""
    backbone = installed.part.backbone
    replies = []
    for row, message in enumerate(messages):
        ok = bool(served[row])
        taken = footprint(backbone, order.context, paths[row]) if footprints is None else footprints[row]
        measured: dict[str, int | float | list[int] | list[float]] = {
            "events": int(quality.events[row]),
            "hits": int(quality.hits[row]),
            "ndcg": float(quality.ndcg[row]),
            "served": int(ok),
            "macs": taken.macs if ok else 0,
            "macs_paper": taken.macs_paper if ok else 0,
            "macs_adapt": 0 if macs_adapt is None else int(macs_adapt[row]),
            "macs_decide": 0 if macs_decide is None else int(macs_decide[row]),
            "param_bits": 32 * taken.weights if ok else 0,
            "path": _bit_mask(paths[row]),
            **({} if compared is None else compared[row]),
        }
        replies.append(_reply(message, {MEASURED: MetricRecord(measured)}))
    return replies


def _bit_mask(path: np.ndarray) -> int:
    """Bit 0 is the first block."""
    return sum(1 << int(k) for k in np.nonzero(path)[0])


def _reply(message: Message, records: Mapping[str, ArrayRecord | MetricRecord]) -> Message:
    return Message(RecordDict(dict(records)), reply_to=message)
