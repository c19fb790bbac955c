"""What can observe the loop that plays a method's sessions (:func:`sim.play.play`).

An observer of training is a :class:`strategies.training.loop.TrainingObserver`.
"""

import pandas as pd


class PlayObserver:
    """Receives what happens in the play of one method; a subclass overrides what it uses."""

    def on_wave(self, sessions: int) -> None:
        """A wave of so many sessions of the present round has been played; their rows come with the round."""

    def on_round(self, rows: pd.DataFrame, fresh: bool) -> None:
        """A round is complete and saved; ``fresh``: it was played now, else an earlier run had played it."""
