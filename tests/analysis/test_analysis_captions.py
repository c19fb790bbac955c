"""What a number's protocol is called."""

from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis import captions
from analysis.run import Run
from tests.support.fake_run import plausible_rows, write_run


@pytest.mark.parametrize(
    ("asked", "found", "title"),
    [
        ("ml1m", "ml1m", "MovieLens-1M"),
        ("amazon-game", "amazon-game", "Amazon Game"),
        ("amazon-game", "amazon-game-2014-5core", "Amazon Game (2014 release, users and items with 5 or more)"),
        ("amazon-food", "amazon-food-2014", "Amazon Food (2014 release)"),
        ("folder/mine.csv", "mine", "mine.csv"),
        ("folder/ml1m.csv", "ml1m", "ml1m.csv"),
        ("ml1m.csv", "ml1m", "ml1m.csv"),
        ("amazon-food", None, "Amazon Food"),
    ],
)
def test_data_are_called_by_what_was_found_not_by_what_was_asked_for(asked: str, found: str | None, title: str) -> None:
    config = {"run": {"dataset": asked}, "data": {} if found is None else {"name": found}}
    assert captions.dataset_title(Run(Path(), config, pd.DataFrame(), pd.DataFrame())) == title


def test_a_limit_of_sessions_is_part_of_the_protocol(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path, plausible_rows(devices=3, sessions=2), sessions=2))
    assert "the first 2 sessions of each device at most" in captions.caption(run)
    assert ("Sessions played", "the first 2 sessions of each device at most") in captions.facts(run)
    whole = analysis.load(write_run(tmp_path, plausible_rows(devices=3, sessions=2)))
    assert "at most" not in captions.caption(whole)
    assert "Sessions played" not in dict(captions.facts(whole))
