"""The whole attack on a finished run: every method that asked for networks, several attackers, one table.

Besides the attackers there stand what the cloud can guess without any request (popularity, co-occurrence with the known
history, the same network without requests) and what it would have if the devices sent their items.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.stats import level, ratio
from clients.local_data import session_events
from clients.upload import PLAIN
from core import schema
from core.errors import UserError
from core.run_folder import read_sessions
from models.checkpoint import Installed
from models.references import Reference
from replay.privacy import people
from replay.privacy.accountant import epsilon
from replay.privacy.attacker import READS, scores, train
from replay.privacy.knowledge import Knowledge, Observed, counts, log_prior, open_run
from replay.privacy.leaks import ITEMS, Sums, by_counts, by_items, by_popularity, leaks
from replay.privacy.shadow import first_counts, recorded, shadow
from sim.data.movielens import load_ml1m_people

ATTACKS = ("popularity", "cooccurrence", *READS, "items")
PEOPLE = ("gender", "age")

Say = Callable[[str], None]
Found = dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]]
"""By measure and attack: of every attacker sums and counts of the devices, or scores and labels of the users."""


def check(folder: Path, data_dir: Path | None = None) -> None:
    """Raise :class:`UserError` if :func:`measure` could not attack the run: that takes minutes, this seconds."""
    to_attack(folder, open_run(folder, data_dir), read_sessions(folder))


def to_attack(folder: Path, knowledge: Knowledge, rows: pd.DataFrame) -> list[str]:
    """The methods of a run whose devices asked for something; :class:`UserError` if none or one cannot be attacked."""
    asked = [method for method in dict.fromkeys(rows["method"]) if (knowledge.uploads["method"] == method).any()]
    if not asked:
        raise UserError(f"{folder}: no device of it asked the cloud for anything; there is nothing to attack")
    for method in asked:
        if (action := knowledge.actions.get(method, "train")) != "train":
            raise UserError(f"{folder}: the paths of {method} ({action}) are drawn, which an attacker cannot do again")
    return asked


def measure(folder: Path, seeds: int = 3, data_dir: Path | None = None, say: Say = print) -> pd.DataFrame:
    """One row for each method, measure and attack of a finished run; see :data:`core.schema.PRIVACY`.

    ``seeds`` attackers are trained of each kind; those of the run are attacked one by one and taken together. Raises
    :class:`UserError` if the run kept no uploads or none with a live item behind it.
    """
    knowledge = open_run(folder, data_dir)
    rows = read_sessions(folder)
    asked = to_attack(folder, knowledge, rows)
    reference = counts(knowledge.training, knowledge.config)
    found = []
    for method in asked:
        parts = [_attack(knowledge, reference, method, seed, range(seeds), say) for seed in knowledge.config.seed_list]
        played = rows[rows["method"] == method]
        facts = _facts(knowledge, method, played)
        found += [{**facts, **row} for row in _levels(parts)]
    return pd.DataFrame(found)[schema.names(schema.PRIVACY)]


def _attack(
    knowledge: Knowledge, reference: Reference, method: str, seed: int, attackers: Sequence[int], say: Say
) -> Found:
    """What each attack has found of one method and seed, by measure and attack: a result for each attacker."""
    installed = knowledge.installed(method, seed)
    observed = recorded(knowledge, installed.part, reference, method, seed)
    if not any(len(observed.secret(row)) for row in range(len(observed.owner))):
        raise UserError(
            f"{knowledge.path}: no request has live items behind it that the cloud does not know; "
            "play --protocol stream and more sessions"
        )
    popular = knowledge.popular
    found: Found = {}

    def note(attack: str, sums: Sums) -> None:
        for name, one in sums.items():
            found.setdefault((name, attack), []).append(one)

    say(f"{method}, seed {seed}: {len(observed.owner):,} requests; guessing")
    note("popularity", leaks(observed, by_popularity(observed, popular), popular))
    note("cooccurrence", leaks(observed, by_counts(observed), popular))
    following = _following(knowledge, observed, seed, reference)
    note("items", leaks(observed, by_items(observed, popular, following), popular))
    before = first_counts(knowledge)
    for number in attackers:
        made = shadow(knowledge, installed.part, before, number)
        for reads in READS:
            say(f"{method}, seed {seed}: attacker {number}, {reads}, {len(made.owner):,} shadow requests")
            model = train(made, reads, number)
            note(reads, leaks(observed, scores(model, observed), popular))
    if knowledge.config.dataset == "ml1m":
        _attack_people(knowledge, observed, attackers, found)
    return found


def _attack_people(knowledge: Knowledge, observed: Observed, attackers: Sequence[int], found: Found) -> None:
    """Tell gender and age; what is found goes into ``found``: scores and labels."""
    facts = load_ml1m_people(knowledge.data_dir)
    who = [facts[knowledge.interactions.user_ids[user]] for user in knowledge.streams.users.tolist()]
    labels = {"gender": np.array([g == "F" for g, _ in who]), "age": np.array([a < people.YOUNG for _, a in who])}
    items = np.split(knowledge.streams.items, knowledge.streams.offsets[1:-1])
    one, many = people.of_requests(observed)
    features = {
        "history": people.of_items(observed.known, observed.num_items),
        "upload": one,
        "uploads": many,
        "items": people.of_items(items, observed.num_items),
    }
    names = [name for name, label in labels.items() if 0 < label.sum() < len(label)]
    wanted = np.stack([labels[name] for name in names], axis=1)
    for attack, known in features.items():
        each = [people.told(known, wanted, number) for number in attackers]
        for place, name in enumerate(names):
            found[name, attack] = [(scores[:, place], labels[name]) for scores in each]


def _following(
    knowledge: Knowledge, observed: Observed, seed: int, reference: Reference
) -> Callable[[np.ndarray], torch.Tensor]:
    """What a cloud with the items would rank the next one by: DeviceRec's network, or counts where the run has none.

    It knows what has been seen, so that in a run of unseen candidates none of that has a score.
    """
    static = knowledge.static(seed)

    def score(rows: np.ndarray) -> torch.Tensor:
        pasts = [np.concatenate([observed.known[observed.owner[row]], observed.live[row]]) for row in rows.tolist()]
        found = _by_network(static, pasts, knowledge) if static else torch.from_numpy(log_prior(reference, pasts))
        if knowledge.config.resolved_candidates == "unseen":
            for place, past in enumerate(pasts):
                found[place, torch.from_numpy(past.astype(np.int64) - 1)] = -torch.inf
        return found

    return score


@torch.no_grad()
def _by_network(static: Installed, pasts: list[np.ndarray], knowledge: Knowledge) -> torch.Tensor:
    """DeviceRec's scores ``(n, I)`` after each past."""
    part, network = static.part, static.network
    assert network is not None
    nothing = [np.ones(1, dtype=np.int64) for _ in pasts]  # an event to predict, whichever
    windows = session_events(pasts, nothing, knowledge.config.resolved_context, "all").windows
    states = part.backbone.encode(windows, lambda k, rows: network[k], keep=None)[:, 0, -1]
    return part.backbone.score(states)


def _facts(knowledge: Knowledge, method: str, played: pd.DataFrame) -> dict[str, object]:
    """What a row says of the method, whatever was measured."""
    config, asked = knowledge.config, played["requested"]
    noise = knowledge.form.noise
    releases = played[asked].groupby(["seed", "device"]).size()
    return {
        "run": knowledge.path.name,
        "method": method,
        "defence": defence(knowledge),
        "devices": int(played["device"].nunique()),
        "requests": int(asked.sum()),
        "quality": ratio(played["ndcg"].sum(), played["events"].sum()),
        "bits_up": float(played.loc[asked, "bits_up"].mean()),
        "epsilon_session": epsilon(noise, 1) if noise else float("inf"),
        "epsilon_run": epsilon(noise, int(releases.max())) if noise else float("inf"),
        "protocol": config.protocol,
    }


def defence(knowledge: Knowledge) -> str:
    """What devices do against an attacker, in a few words."""
    config, form = knowledge.config, knowledge.form
    parts = []
    if not form.latent:
        parts.append("path alone")
    if form.clip:
        parts.append(f"clip {form.clip:g}" + (f", noise {form.noise:g}" if form.noise else ""))
    if form.bits != PLAIN.bits:
        parts.append(f"{form.bits} bits")
    if config.policy != "always":
        parts.append(f"policy {config.policy}")
    return ", ".join(parts) or "none"


def _levels(parts: list[Found]) -> Iterator[dict[str, object]]:
    """A row a measure and attack: value, interval over devices, standard deviation over attackers."""
    for name in (*ITEMS, *PEOPLE):
        for attack in ATTACKS:
            found = [one for part in parts for one in part.get((name, attack), [])]
            if not found:
                continue
            row = _of_people(found) if name in PEOPLE else _of_items(found)
            yield {"measure": name, "attack": attack, **row, "attackers": len(found)}


def _of_items(found: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Of sums over devices: attackers are averaged before devices are drawn."""
    sums = pd.DataFrame({"top": np.mean([a for a, _ in found], 0), "bottom": np.mean([b for _, b in found], 0)})
    value, low, high = level(sums[sums["bottom"] > 0], "top", "bottom")
    each = [ratio(float(a.sum()), float(b.sum())) for a, b in found]
    return {"value": value, "low": low, "high": high, "sd": float(np.std(each, ddof=1)) if len(each) > 1 else np.nan}


def _of_people(found: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Of scores and labels: the interval is that of the mean score of all attackers."""
    each = [people.auc(scores, labels) for scores, labels in found]
    low, high = people.interval(np.mean([scores for scores, _ in found], 0), found[0][1])
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else np.nan
    return {"value": float(np.mean(each)), "low": low, "high": high, "sd": spread}
