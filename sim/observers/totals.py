"""What the sessions that a method has played so far add up to, for the observers that show it."""

import pandas as pd


class Totals:
    """Adds up rows of device-sessions."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys(("sessions", "events", "ndcg", "served", "requested", "bits_down", "bits_up"), 0.0)

    def add(self, rows: pd.DataFrame) -> None:
        """Add the rows of a round."""
        self.sums["sessions"] += len(rows)
        for name in self.sums.keys() - {"sessions"}:
            self.sums[name] += float(rows[name].sum())

    @property
    def sessions(self) -> int:
        """How many there were."""
        return int(self.sums["sessions"])

    @property
    def ndcg(self) -> float:
        """NDCG@10 over the events, against all candidates."""
        return self.sums["ndcg"] / max(self.sums["events"], 1)

    @property
    def served(self) -> float:
        """Share of the sessions in which a network ran."""
        return self.sums["served"] / max(self.sums["sessions"], 1)

    @property
    def megabits(self) -> float:
        """Both directions."""
        return (self.sums["bits_down"] + self.sums["bits_up"]) / 1e6
