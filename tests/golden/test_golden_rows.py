"""The rows of small runs, frozen: a change of what the program means shows as a changed line of a CSV file.

The models are fresh, not trained (:mod:`tests.support.untrained`). Where a change is meant, write the files again and
read their diff before it is committed::

    python -m pytest tests/golden --write-golden
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.schema import ORACLES
from sim import run
from sim.config import Config
from strategies.registry import METHODS
from tests.support import untrained
from tests.support.runs import without_report

FROZEN = Path(__file__).parent / "rows"
USERS, ITEMS, EVENTS = 8, 23, 70
DIGITS = "%.9g"

MIX = """
[cloud]
gflops = 1000
requests_per_second = 50
spread_seconds = 0.1

[budget]
latency_ms = 1

[availability]
busy_factor = 0.5
to_busy = 0.3
to_idle = 0.5

[failures]
dropout = 0.1
late = 0.12
vanish = 0.05

[[tier]]
name = "weak"
share = 0.4
gflops = 1.4
efficiency = 0.5
memory_mbyte = 10
downlink_mbit_s = 20
uplink_mbit_s = 5
picojoule_per_mac = 4.6
nanojoule_per_bit_down = 100
nanojoule_per_bit_up = 500

[[tier]]
name = "thrifty"
share = 0.2
gflops = 100
efficiency = 0.5
memory_mbyte = 20
downlink_mbit_s = 40
uplink_mbit_s = 10
picojoule_per_mac = 4.6
nanojoule_per_bit_down = 50
nanojoule_per_bit_up = 250
tail_watts = 1
tail_seconds = 0.5
assembly_mbyte_s = 100

[tier.budget]
session_joules = 0.59

[[tier]]
name = "strong"
share = 0.4
gflops = 200
efficiency = 0.5
memory_mbyte = 20
downlink_mbit_s = 200
uplink_mbit_s = 20
picojoule_per_mac = 4.6
nanojoule_per_bit_down = 40
nanojoule_per_bit_up = 200
"""
"""Three kinds of devices, one of them too weak for all blocks when it is busy, one with energy for two new blocks in a
session, and everything that can go wrong."""

ABRUPT = "kind = 'abrupt'\nshare = 0.8\nonset = [0.2, 0.8]\nseverity = 1.0\n"

RUNS: dict[str, dict[str, object]] = {
    "": {"methods": ",".join(name for name in METHODS if name not in ORACLES)},  # those need generated data
    "nextitnet-": {"methods": "devicerec,gater,forward-ofa", "backbone": "nextitnet"},
    "paper-": {"methods": "devicerec,finetune,forward-ofa", "protocol": "paper", "scenario": "paper-device"},
    "drift-": {
        "methods": "finetune,litepred,forward-ofa",
        "policy": "drift:0.4",
        "drift": "abrupt.toml",
        "compare_stale": True,
    },
    "rate-": {"methods": "duet-plus,finetune", "policy": "page-hinkley", "request_rate": 0.4},
    # The detector alone is trained; no device's doubt is within 0.07 of this, so that machines agree on who asks.
    "detector-": {"methods": "duet", "policy": "mrd:0.65", "drift": "abrupt.toml"},
}
"""Options of each run, by what the names of its files begin with."""


def write_data(path: Path) -> None:
    """Users in three tastes that differ in pace, by arithmetic alone: no library may change its random numbers."""
    numbers = sorted(range(ITEMS), key=str)  # the frozen rows number items in the alphabetical order of their names
    rows = []
    for user in range(USERS):
        now, item = 10**9 + 1000 * user, user
        for step in range(EVENTS + 2 * user):
            item = (item * 5 + 3 * (user % 3) + step // 4 + 1) % ITEMS
            now += 3600 if step % 4 == 3 else 60 + user
            rows.append((f"u{user}", f"i{numbers.index(item)}", now))
    pd.DataFrame(rows, columns=["user", "item", "timestamp"]).to_csv(path, index=False)


@pytest.fixture(scope="module", params=RUNS, ids=lambda name: name.rstrip("-") or "all methods")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The rows of one run, by the file that freezes them."""
    folder = tmp_path_factory.mktemp("golden")
    write_data(folder / "data.csv")
    (folder / "mix.toml").write_text(MIX)
    (folder / "abrupt.toml").write_text(ABRUPT)
    options: dict[str, object] = {
        "dataset": "data.csv",
        "devices": USERS,
        "blocks": 3,
        "context": 5,
        "memory": 8,
        "session_length": 4,
        "sessions": 5,
        "epochs": 5,
        "scenario": "mix.toml",
        "references": "none",
        "candidates": "all",
        "quiet": True,
        "out": folder / "run",
        **RUNS[request.param],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SIM_CACHE_DIR", str(folder / "cache"))
        without_report(patch)
        untrained.install(patch)
        run.main(Config(**options).absolute())  # type: ignore[arg-type]
    rows = pd.read_parquet(folder / "run" / "sessions.parquet")
    return {
        f"{request.param}{method}.csv": mine.drop(columns="method").reset_index(drop=True)
        for method, mine in rows.groupby("method")
    }


def test_rows_are_the_frozen_ones(played: dict[str, pd.DataFrame], pytestconfig: pytest.Config) -> None:
    """Whole numbers, texts and truth values exactly; other numbers as far as machines agree on them."""
    for name, rows in played.items():
        if pytestconfig.getoption("write_golden"):
            FROZEN.mkdir(exist_ok=True)
            rows.to_csv(FROZEN / name, index=False, float_format=DIGITS, lineterminator="\n")
        frozen = pd.read_csv(FROZEN / name)
        assert list(rows.columns) == list(frozen.columns), name
        for column in rows:
            found, wanted = rows[column], frozen[column]
            if pd.api.types.is_float_dtype(found):
                np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-15, err_msg=f"{name}: {column}")
            else:
                assert found.tolist() == wanted.tolist(), f"{name}: {column}"


def test_every_method_has_frozen_rows_and_no_file_is_left_over() -> None:
    expected = {
        f"{prefix}{method}.csv" for prefix, options in RUNS.items() for method in str(options["methods"]).split(",")
    }
    assert {path.name for path in FROZEN.iterdir()} == expected
