"""Run folders with known contents, for the tests of the analysis and for looking at pictures.

    python tests/analysis/fake_run.py FOLDER [--devices 1000] [--sessions 5] [--seeds 3] [--tiers] [--drift]

`write_run` writes a folder from rows; `plausible_rows` invents rows that look like a run: DeviceRec below
Finetune below DUET below Forward-OFA, Forward-OFA with fewer blocks, everybody worse after a change of
interest but the adaptive methods less. With drift, devices adapt by a policy and measure what a fresh network gains.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

METHODS = ("devicerec", "finetune", "duet", "forward-ofa")
TITLES = {
    "devicerec": "DeviceRec",
    "finetune": "Finetune",
    "duet": "DUET",
    "forward-ofa": "Forward-OFA",
    "forward-ofa-plus": "Forward-OFA+",
}
SKILL = {"devicerec": 0.17, "finetune": 0.178, "duet": 0.195, "forward-ofa": 0.205, "first-k": 0.186}
LOSS_AFTER_CHANGE = {"devicerec": 0.55, "finetune": 0.7, "duet": 0.8, "forward-ofa": 0.82}
BLOCK_CHANCES = np.array([0.97, 0.72, 0.35, 0.55, 0.8, 0.95, 0.3, 0.5, 0.6, 0.2, 0.4, 0.9])
BLOCK_WEIGHTS, BLOCK_MACS, FIXED_MACS_PAPER = 20_800, 102_400, 10_000


def plausible_rows(
    devices: int = 60,
    sessions: int = 4,
    methods: Sequence[str] = METHODS,
    seeds: Sequence[int] = (0,),
    blocks: int = 6,
    tiers: bool = False,
    drift: bool = False,
    lift: float = 0.0,
) -> pd.DataFrame:
    """Rows of a `sessions.parquet`; `lift` makes every method better by that share."""
    frames = []
    for seed in seeds:
        world = np.random.default_rng(seed)
        events = world.integers(1, 11, (devices, sessions))
        taste = world.gamma(8.0, 1 / 8.0, (devices, 1))
        onset = world.integers(1, max(2, sessions - 1), devices)
        tier = np.array(["budget", "mid", "flagship"])[world.choice(3, devices, p=[0.3, 0.5, 0.2])]
        speeds = {"budget": 2e11, "mid": 8e11, "flagship": 1.7894e12}
        pace = np.array([speeds[name] if tiers else 1.7894e12 for name in tier])[:, None]
        for method in methods:
            draw = np.random.default_rng([seed, *method.encode()])
            after = np.arange(sessions) - onset[:, None]
            damage = np.where(after < 0, 1.0, LOSS_AFTER_CHANGE.get(method, 0.7) + 0.05 * np.maximum(after, 0))
            served = np.ones((devices, sessions), bool)
            if tiers and method in ("devicerec", "duet", "finetune"):
                served = (tier != "budget")[:, None] | (draw.random(served.shape) < 0.3)
            skill = SKILL.get(method, 0.18) * (1 + lift) * taste * (damage if drift else 1.0)
            hits = draw.binomial(events, np.clip(np.where(served, skill, 0.06), 0, 0.9))
            gain = np.where(hits > 0, hits * draw.uniform(0.42, 0.62, hits.shape), 0.0)
            path = np.full((devices, sessions), (1 << blocks) - 1, np.int64)
            if method == "forward-ofa":
                chance = BLOCK_CHANCES[:blocks] * np.where(tiers & (tier == "budget"), 0.7, 1.0)[:, None]
                kept = draw.random((devices, 1, blocks)) < np.broadcast_to(chance[:, None], (devices, 1, blocks))
                flip = draw.random((devices, sessions, blocks)) < 0.05
                kept = np.where(flip, ~kept, kept)
                kept[..., 0] |= ~kept.any(axis=-1)
                path = (kept * (1 << np.arange(blocks))).sum(axis=-1)
            if method == "first-k":
                path = (1 << draw.integers(2, blocks + 1, (devices, sessions))) - 1
            path = np.where(served, path, 0)
            ran = np.array([int(p).bit_count() for p in path.ravel()]).reshape(path.shape)
            asks = method in ("duet", "forward-ofa", "first-k")
            fixed = np.where(served, FIXED_MACS_PAPER, 0)
            down = np.where(served & asks, ran * BLOCK_WEIGHTS * 32, 0)
            up = np.where(served & asks, 64 * 32 + blocks, 0)
            local = np.where(served, 0.9 if method == "finetune" else 0.0, 0.0)
            joules = down * 51.97e-9 + up * 438.39e-9 + local * 0.4 + events * ran * 4.7e-7
            phase = np.where(after < 0, "before", np.where(after == 0, "during", "after"))
            rows = pd.DataFrame(
                {
                    "seed": np.int64(seed),
                    "device": np.repeat(np.arange(devices, dtype=np.int32), sessions),
                    "method": method,
                    "session": np.tile(np.arange(sessions, dtype=np.int32), devices),
                    "events": events.ravel().astype(np.int32),
                    "repeats": np.int32(0),
                    "hits": hits.ravel().astype(np.int32),
                    "ndcg": gain.ravel(),
                    "requested": (served & asks).ravel(),
                    "path": path.ravel().astype(np.int64),
                    "blocks": ran.ravel().astype(np.int32),
                    "macs": (ran * BLOCK_MACS).ravel().astype(np.int64),
                    "macs_paper": (fixed + ran * BLOCK_MACS).ravel().astype(np.int64),
                    "macs_session": (events * ran * BLOCK_MACS + asks * 2_000_000).ravel().astype(np.int64),
                    "param_bits": (ran * BLOCK_WEIGHTS * 32).ravel().astype(np.int64),
                    "bits_down": down.ravel().astype(np.int64),
                    "bits_up": up.ravel().astype(np.int64),
                    "seconds_adapt": (down / 40e6 + up / 40e6 + local).ravel(),
                    "seconds_wait": 0.0,
                    "seconds_inference": (2 * ran * BLOCK_MACS / pace).ravel(),
                    "joules": joules.ravel(),
                    "budget_macs": np.repeat(pace.ravel() * 2.5e-6 if tiers else np.full(devices, np.inf), sessions),
                    "served": served.ravel(),
                    "status": "ok",
                    "tier": np.repeat(tier if tiers else np.full(devices, "phone"), sessions),
                    "phase": phase.ravel() if drift else "stationary",
                }
            )
            adapts = asks or method == "finetune"
            rows["adapted"] = adapts & served.ravel()
            for share, name in ((0.3, "hits_1"), (0.7, "hits_5")):
                rows[name] = (share * rows["hits"]).astype(np.int32)
            rows["hits_20"] = np.minimum(rows["hits"] + 1, rows["events"]).astype(np.int32)
            rows["ndcg_5"] = np.minimum(0.9 * rows["ndcg"], rows["hits_5"])
            rows["ndcg_20"] = rows["ndcg"] + 0.25 * (rows["hits_20"] - rows["hits"])
            rows["mrr"] = 0.8 * rows["ndcg"]
            if drift and adapts:
                chance = np.where(after >= 1, 0.6, 0.15).ravel()
                rows["adapted"] &= (rows["session"] == 0) | (draw.random(len(rows)) < chance)
                gain = rows["ndcg"] * np.where(after.ravel() >= 1, 0.2, 0.02) * draw.uniform(0, 1, len(rows))
                rows["ndcg_stale"] = rows["ndcg"] - gain * rows["adapted"]
                rows["ndcg_fresh"] = rows["ndcg"] + gain * ~rows["adapted"]
            frames.append(rows)
    return pd.concat(frames, ignore_index=True)


def plausible_training(methods: Sequence[str] = METHODS, seeds: Sequence[int] = (0,), epochs: int = 18) -> pd.DataFrame:
    """Rows of a `training.csv` that rise and level off; Finetune deploys DeviceRec's model and has none."""
    rows = []
    for method in methods:
        if method == "finetune":
            continue
        for seed in seeds:
            draw = np.random.default_rng([seed, len(method)])
            epoch = np.arange(1, epochs + 1)
            ndcg = SKILL.get(method, 0.18) * 0.5 * (1 - np.exp(-epoch / 4)) - 0.0006 * np.maximum(epoch - 13, 0)
            ndcg = ndcg + draw.normal(0, 0.0008, epochs)
            rows.append(
                pd.DataFrame(
                    {
                        "method": method,
                        "seed": seed,
                        "epoch": epoch,
                        "loss": 5.5 + 4 * (0.2 - SKILL.get(method, 0.18)) + 2.2 * np.exp(-epoch / 5),
                        "valid_ndcg@10": ndcg,
                        "valid_hit@10": 1.9 * ndcg,
                        "seconds": 2.5,
                        "best": np.arange(epochs) == ndcg.argmax(),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def write_run(
    folder: Path,
    rows: pd.DataFrame,
    training: pd.DataFrame | None = None,
    methods: Sequence[str] = METHODS,
    **options: object,
) -> Path:
    """A run folder with these rows; `options` replace or add to the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, object] = {
        "dataset": "ml1m",
        "devices": rows["device"].nunique(),
        "methods": list(methods),
        "backbone": "sasrec",
        "blocks": 6,
        "context": 10,
        "protocol": "stream",
        "session_length": 10,
        "session_gap": 30.0,
        "scenario": "paper-device",
        "drift": "natural",
        "policy": "always",
        "cloud_users": "simulated",
        "backend": "inprocess",
        "seed": int(rows["seed"].min()),
        "seeds": rows["seed"].nunique(),
    }
    settings.update(options)
    lines = ["[run]", *(f"{key} = {_toml(value)}" for key, value in settings.items()), ""]
    lines += ["[titles]", *(f'{name} = "{title}"' for name, title in TITLES.items()), ""]
    lines += ["[notes]", 'duet = "the cloud makes the weights"', ""]
    lines += ["[data]", "users = 6040", "items = 3011", "interactions = 994852", "mean_length = 164.71"]
    lines += ["sparsity = 0.9453", "", "[versions]", 'python = "3.11.2"', 'torch = "2.13.0"', ""]
    (folder / "config.toml").write_text("\n".join(lines), encoding="utf-8")
    rows.to_parquet(folder / "sessions.parquet", index=False)
    if training is not None:
        training.to_csv(folder / "training.csv", index=False)
    return folder


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tiers", action="store_true")
    parser.add_argument("--drift", action="store_true")
    given = parser.parse_args()
    seeds = range(given.seeds)
    rows = plausible_rows(given.devices, given.sessions, seeds=seeds, tiers=given.tiers, drift=given.drift)
    extra = {"scenario": "mixed"} if given.tiers else {}
    if given.drift:
        extra["drift"] = "abrupt"
    write_run(given.folder, rows, plausible_training(seeds=seeds), **extra)


if __name__ == "__main__":
    main()
