"""Facts of the data by hand, and the warning for each of them that is past its bound."""

import io
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from core.errors import UserError
from sim.config import Config
from sim.data.facts import DataFacts, data_facts
from sim.data.interactions import Interactions, build_interactions
from sim.experiment import prepare, tell_data
from sim.observers.progress import Display
from sim.world.streams import Streams, build_streams, eligible_users

BEGIN = 1_600_000_000  # 13 September 2020
Row = tuple[str, int, int]


def small() -> list[Row]:
    """(user, item, seconds after BEGIN). Live are the last two rows of a and the last one of b; c has too few.

    The histories are the first seven rows of a and the first three of b: items 1 to 7.
    """
    a = [("a", item, 60 * place) for place, item in enumerate([1, 2, 3, 4, 5, 6, 7, 8, 1, 9])]
    b = [("b", item, at) for item, at in ((2, 0), (2, 0), (3, 3600), (4, 7200), (8, 7200 + 86_400))]
    c = [("c", 1, 5), ("c", 2, 5), ("c", 3, 6), ("c", 3, 8)]
    return a + b + c


def built(rows: list[Row], begin: int = BEGIN) -> Interactions:
    users, items = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    return build_interactions(
        "small.csv",
        np.array([users.index(row[0]) for row in rows]),
        np.array([items.index(row[1]) for row in rows]),
        np.array([begin + row[2] for row in rows]),
        users,
        [str(item) for item in items],
        notes=["times: seconds"],
    )


def history_items(streams: Streams) -> np.ndarray:
    parts = zip(streams.offsets, streams.live_start, strict=False)
    return np.concatenate([streams.items[start : start + live - 1] for start, live in parts])


def facts_of(
    data: Interactions, ties: str = "file", gap: float = 30.0, length: int = 10, candidates: str = "all"
) -> DataFacts:
    able = eligible_users(data)
    streams = build_streams(data, able, session_gap_minutes=gap, session_length=length)
    return data_facts(
        data,
        streams,
        history_items(streams),
        able=len(able),
        needed=5,
        ties=ties,
        candidates=candidates,
        session_gap=gap,
        session_length=length,
    )


def regular(users: int = 12, rows: int = 10, items: int = 12) -> list[Row]:
    """Nothing to warn of: every item is in many histories, no user repeats one, pauses of five minutes."""
    return [
        (f"u{user}", (user + place) % items, 300 * place + 7 * user) for user in range(users) for place in range(rows)
    ]


def test_facts_by_hand() -> None:
    facts = facts_of(built(small()))
    assert (facts.users, facts.users_left_out, facts.interactions_needed, facts.devices) == (3, 1, 5, 2)
    assert (facts.items, facts.interactions, facts.live_events) == (9, 19, 3)
    assert facts.share_cold_live == pytest.approx(2 / 3, abs=1e-6)  # 8 and 9; 8 is only a's validation item
    assert facts.share_repeats == pytest.approx(1 / 3, abs=1e-6)  # a's 1
    assert (facts.duplicate_rows, facts.share_duplicates) == (1, pytest.approx(1 / 19, abs=1e-6))  # b's second row
    assert facts.share_tied == pytest.approx(4 / 19, abs=1e-6)  # two of b, two of c
    assert facts.share_one_event_sessions == 0.5  # a's live events are one session, b's one is another
    assert facts.median_pause_minutes == 1.0  # of a: nine of a minute; of b: 0, 60, 60 and 1440
    assert (facts.ties, facts.session_gap_minutes) == ("file", 30.0)
    assert (facts.first_day, facts.last_day) == ("2020-09-13", "2020-09-14")
    assert facts.span_days == pytest.approx(1 + 7200 / 86_400, abs=1e-4)
    assert facts.notes == ("times: seconds",)


def test_histories_of_others_count_as_known() -> None:
    data = built(small())
    streams = build_streams(data, eligible_users(data))
    options = {"able": 2, "needed": 5, "ties": "file", "candidates": "all", "session_gap": 30.0, "session_length": 10}
    known = np.append(history_items(streams), 8)  # another user's history has item 8
    assert data_facts(data, streams, known, **options).share_cold_live == pytest.approx(1 / 3, abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(("candidates", "words"), [("unseen", "--candidates all scores them"), ("all", "remembering")])
def test_repeats_are_told_with_what_becomes_of_them(candidates: str, words: str) -> None:
    rows = [(user, item, 60 * place) for user in "ab" for place, item in enumerate([1, 2, 3, 4, 5, 6, 7, 8, 9, 9])]
    (line,) = [one for one in facts_of(built(rows), candidates=candidates).warnings if "repeat" in one]
    assert line.startswith("50.0 % of the live events repeat an item of the device's own past: ")
    assert words in line


def test_a_repeat_is_one_of_the_same_device_and_of_its_live_past_too() -> None:
    rows = [("a", item, 60 * place) for place, item in enumerate([1, 2, 3, 4, 5, 6, 7, 8, 9, 9])]
    rows += [("b", item, 60 * place) for place, item in enumerate([1, 2, 3, 4, 5, 6, 7, 9, 10, 8])]
    assert facts_of(built(rows)).share_repeats == 0.25  # only a's second 9


def test_regular_data_give_no_warning() -> None:
    assert facts_of(built(regular())).warnings == ()


def test_equal_seconds_with_different_fractions_are_neither_ties_nor_duplicates() -> None:
    rows = regular()
    exact = build_interactions(
        "x",
        np.array([int(row[0][1:]) for row in rows]),
        np.array([row[1] for row in rows]),
        np.array([BEGIN * 10 + place % 10 for place in range(len(rows))]),
        [f"u{n}" for n in range(12)],
        [f"i{n}" for n in range(12)],
        ticks=10,
    )
    facts = facts_of(exact)
    assert set(exact.times) == {BEGIN}
    assert (facts.share_tied, facts.duplicate_rows) == (0.0, 0)


def warnings_of(rows: list[Row], **options: object) -> list[str]:
    return list(facts_of(built(rows, **options)).warnings)  # type: ignore[arg-type]


def test_every_row_twice() -> None:
    found = warnings_of([row for row in regular() for _ in range(2)])
    assert any(line.startswith("120 of 240 rows are exact duplicates") for line in found)
    assert any(line.startswith("100.0 % of the rows have the time of another row of their user") for line in found)


def test_most_users_left_out() -> None:
    few = [(f"s{user}", 1, 977 * user) for user in range(13)]
    (line,) = warnings_of(regular() + few)
    assert line == (
        "13 of 25 users are left out: a device needs at least 5 interactions, so the results are those of the active "
        "users"
    )
    assert warnings_of(regular() + few[:12]) == []  # exactly half


def test_a_catalogue_of_at_most_ten_items() -> None:
    assert warnings_of(regular(rows=5, items=11)) == []
    (line,) = warnings_of(regular(rows=5, items=10))
    assert line.startswith("the catalogue has 10 items and the metrics' cut-off is 10: Hit@10 is 1")


def test_items_that_no_history_holds() -> None:
    rows = [(user, 100 + place if place % 10 > 7 else item, at) for place, (user, item, at) in enumerate(regular())]
    (line,) = warnings_of(rows)
    assert line.startswith("100.0 % of the live events have an item that nobody's history holds")


def test_repeats() -> None:
    rows = [(user, 1 if place % 10 in (0, 9) else 2 + item, at) for place, (user, item, at) in enumerate(regular())]
    (line,) = warnings_of(rows)
    assert line.startswith("50.0 % of the live events repeat an item of the device's own past")


def test_ties_and_how_they_are_ordered() -> None:
    rows = [(user, item, at - 300 if place % 10 == 4 else at) for place, (user, item, at) in enumerate(regular())]
    (line,) = warnings_of(rows)
    assert line.startswith(
        "20.0 % of the rows have the time of another row of their user: they stay in the file's order"
    )
    (line,) = facts_of(built(rows), ties="shuffled").warnings
    assert line.endswith("they are shuffled")


def test_all_times_equal() -> None:
    """Rows of one item are then no duplicates that anybody could tell."""
    (line,) = warnings_of([(user, item, 0) for user, item, _ in [*regular(), ("u0", 0, 0)]])
    assert line == "all times are equal: there is no order but that of the file, and no session ends by a pause"


def test_days_make_sessions_of_one_event() -> None:
    rows = [(user, item, 86_400 * (at // 300)) for user, item, at in regular()]
    (line,) = warnings_of(rows)
    assert line == (
        "100.0 % of the sessions have one event: the median pause is 24 h and --session-gap 30 min; a larger one, or "
        "inf, makes longer sessions"
    )
    assert facts_of(built(rows), gap=float("inf")).warnings == ()
    assert facts_of(built(rows), length=1).warnings == ()  # asked for


def test_the_papers_protocol_has_one_event_a_device_by_itself() -> None:
    data = built([(user, item, 86_400 * (at // 300)) for user, item, at in regular()])
    streams = build_streams(data, eligible_users(data, "paper"), protocol="paper")
    facts = data_facts(
        data,
        streams,
        history_items(streams),
        able=12,
        needed=3,
        ties="file",
        candidates="all",
        session_gap=30.0,
        session_length=10,
    )
    assert (facts.live_events, facts.share_one_event_sessions) == (12, 1.0)
    assert facts.warnings == ()


@pytest.mark.parametrize(
    ("begin", "days"), [(BEGIN // 60, "1970-11-05 and 1970-11-05"), (5 * 10**9, "2128-06-11 and 2128-06-11")]
)
def test_times_in_another_unit(begin: int, days: str) -> None:
    (line,) = warnings_of(regular(), begin=begin)
    assert line.startswith(f"the times lie between {days}, not between 1990 and 2050 (a span of 0.0 days")
    assert "their unit is probably another one" in line


# -- of a run ------------------------------------------------------------------------------------------------------


def spoken(config: Config) -> tuple[str, DataFacts, dict[str, object]]:
    run, world = prepare(config)
    out = io.StringIO()
    tell_data(world, Display(quiet=config.quiet, console=Console(file=out, width=400)))
    table = tomllib.loads((run.path / "config.toml").read_text(encoding="utf-8"))["data_facts"]
    return out.getvalue(), world.facts, table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [(user, item, at) for user, item, at in regular(users=12, rows=10, items=10)]
    text = "\n".join(["userId,movieId,ts", *(f"{user},{item},{1000 * (BEGIN + at)}" for user, item, at in rows)])
    path = tmp_path / "films [old].csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_says_and_keeps_its_facts(file: Path, tmp_path: Path) -> None:
    said, facts, table = spoken(Config(dataset=str(file), devices=6, out=tmp_path / "run"))
    lines = said.splitlines()
    assert lines[0].startswith("data: films [old].csv: 12 users, 10 items, 120 interactions, 2020-09-13 to 2020-09-13")
    assert lines[1] == "  columns: user = userId, item = movieId, time = ts; separator: comma"
    assert lines[2] == "  times: milliseconds since 1970, from 2020-09-13 to 2020-09-13"
    assert lines[3].startswith("  users: 6 are devices; 0 are left out, they have fewer than the 5 interactions")
    assert [line for line in lines if line.startswith("warning: ")] == lines[-len(facts.warnings) :]
    assert lines[-1].startswith("warning: the catalogue has 10 items")
    assert table == facts.table()
    assert table["notes"] == [line.strip() for line in lines[1:3]]
    assert table["warnings"] == [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]
    assert all(isinstance(value, str | int | float | list) for value in table.values())


def test_quiet_leaves_the_warnings(file: Path, tmp_path: Path) -> None:
    said, facts, _ = spoken(Config(dataset=str(file), devices=6, out=tmp_path / "run", quiet=True))
    assert said.splitlines() == [f"warning: {line}" for line in facts.warnings]


def test_one_item_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("user,item,time\n" + "".join(f"a,x,{BEGIN + n}\n" for n in range(9)), encoding="utf-8")
    with pytest.raises(UserError, match="has 1 item: there is nothing to rank"):
        prepare(Config(dataset=str(path), devices=1, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_ties_and_columns_are_part_of_a_runs_identity(file: Path) -> None:
    config = Config(dataset=str(file))
    others = [replace(config, ties="shuffled"), replace(config, columns="user=userId")]
    assert len({one.identity() for one in (config, *others)}) == 3
    with pytest.raises(UserError, match="unknown ties 'random'; choose from: file, shuffled"):
        replace(config, ties="random").check()
    with pytest.raises(UserError, match="expected user=NAME"):
        replace(config, columns="userId").check()


def test_shuffled_ties_reach_the_devices(tmp_path: Path) -> None:
    rows = [f"u{user},{item},{BEGIN}" for user in range(6) for item in range(20)]
    path = tmp_path / "ties.csv"
    path.write_text("\n".join(["user,item,time", *rows]), encoding="utf-8")
    configs = [Config(dataset=str(path), devices=6, ties=ties, seed=seed, out=tmp_path / f"{ties}{seed}")
               for ties, seed in (("file", 0), ("shuffled", 0), ("shuffled", 1))]  # fmt: skip
    items = [prepare(config)[1].streams.items for config in configs]
    assert items[0].tolist() == list(range(1, 21)) * 6  # the file's order
    assert sorted(items[1][:20]) == list(range(1, 21))
    assert len({tuple(one.tolist()) for one in items}) == 3
