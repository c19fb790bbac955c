"""Messages altered anywhere, at both ends: none is believed wrongly, no round is lost, nobody else's row changes."""

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_messages import FAULTS, Wave, altered_batch
from benchmarks.small_world import Bench
from core.errors import UserError
from models.delivery import Delivery
from sim import play
from strategies.wave import DeviceSession, SessionResult, Status

MIXED: list[Any] = [
    ("devicerec", "", 0),
    ("finetune", "every:2", 2),
    ("forward-ofa", "", 0),
    ("forward-ofa", "compare", 2),
    ("duet", "every:2", 1),
    ("gater", "", 0),
    ("litepred", "", 0),
    ("duet-plus", "", 0, Delivery("code", 8)),
    ("forward-ofa-plus", "compare", 2, Delivery("code", 16)),
    ("forward-ofa-plus", "every:2", 2, Delivery("local")),
]
quick = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> list[Wave]:
    bench = Bench(tmp_path_factory.mktemp("bench"))
    return [Wave(bench, *one) for one in MIXED]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """An altered folder may be one below the working folder."""
    monkeypatch.chdir(str(tmp_path))


@quick
@given(number=st.integers(0, len(MIXED) - 1), random=st.randoms(use_true_random=False))
def test_an_altered_reply_costs_its_sender_at_most_that_session(waves: list[Wave], number: int, random: Random) -> None:
    field, verdict = waves[number].altered(random)
    assert not verdict.startswith(FAULTS), field


@quick
@given(number=st.integers(0, len(MIXED) - 1), random=st.randoms(use_true_random=False))
def test_an_altered_message_is_refused_in_one_line_and_the_others_honoured(
    waves: list[Wave], number: int, random: Random
) -> None:
    field, verdict = altered_batch(waves[number], random)
    assert not verdict.startswith(FAULTS), field


def results(**counts: int) -> list[SessionResult]:
    """So many device-sessions of each status."""
    statuses: list[Status] = [status for status, count in counts.items() for _ in range(count)]  # type: ignore[misc]
    return [SessionResult(DeviceSession(100 + n, n, 4), status, f"why {n}") for n, status in enumerate(statuses)]


@pytest.mark.parametrize(
    ("counts", "stops"),
    [
        ({"ok": 254, "failed": 2}, False),
        ({"ok": 253, "failed": 2, "lost": 1}, True),  # 3 of 256 are more than 1 %
        ({"ok": 99, "lost": 1}, False),
        ({"ok": 98, "lost": 1}, True),
        ({"ok": 9, "failed": 1}, True),
        ({"failed": 1}, True),
        ({"dropped": 255, "lost": 1}, True),  # all of those that were asked
        ({"dropped": 254, "ok": 1, "lost": 1}, False),
        ({"dropped": 3, "vanished": 3, "late": 3, "rejected": 3}, False),
        ({"rejected": 12}, False),
        ({"dropped": 12}, False),
    ],
)
def test_a_run_stops_when_more_than_one_in_a_hundred_failed_or_all_did(
    waves: list[Wave], counts: dict[str, int], stops: bool
) -> None:
    strategy, log = waves[0].strategy, waves[0].bench.folder / "run.log"
    played = results(**counts)
    if not stops:
        play.stop_if_failing(played, strategy, log)
        return
    first = next(n for n, result in enumerate(played) if result.status in ("failed", "lost"))
    with pytest.raises(UserError) as error:
        play.stop_if_failing(played, strategy, log)
    text = str(error.value)
    assert "\n" not in text
    for part in ("DeviceRec", f"device {first} (node {100 + first})", "session 4", f"why {first}", str(log)):
        assert part in text
