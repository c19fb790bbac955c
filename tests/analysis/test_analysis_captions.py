"""What a number's protocol is called."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import captions
from analysis.run import Run


@pytest.mark.parametrize(
    ("asked", "found", "title"),
    [
        ("ml1m", "ml1m", "MovieLens-1M"),
        ("amazon-game", "amazon-game", "Amazon Game"),
        ("amazon-game", "amazon-game-2014-5core", "Amazon Game (2014 release, users and items with 5 or more)"),
        ("amazon-food", "amazon-food-2014", "Amazon Food (2014 release)"),
        ("folder/mine.csv", "mine", "mine.csv"),
        ("amazon-food", None, "Amazon Food"),
    ],
)
def test_data_are_called_by_what_was_found_not_by_what_was_asked_for(asked: str, found: str | None, title: str) -> None:
    config = {"run": {"dataset": asked}, "data": {} if found is None else {"name": found}}
    assert captions.dataset_title(Run(Path(), config, pd.DataFrame(), pd.DataFrame())) == title
