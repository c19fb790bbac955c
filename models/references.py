"""Reference methods: rankings that need no network, beside which every network has to show what it is worth.

A reference ranks from what a device knows anyway, its own past in order, and from what the cloud counted in the
histories that it trains on. It is installed on a device as networks are, and its table and its arithmetic are counted
as theirs.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.candidates import Seen

READ = 50
"""Latest items that co-occurrence counts read, the newest with weight 1, the one before with 1/2, and so on."""
DENSE = 10_000
"""Largest catalogue whose table is unpacked to a matrix: 400 MB."""


class Reference(nn.Module):
    """A ranking of all items for what a device has interacted with before."""

    kind: ClassVar[str]
    """Names the class in a model's file."""
    types: int = 0
    """Of how many types of users it has a table each; a device has to be told its user's, which it cannot know."""
    popular: Tensor

    def __init__(self, num_items: int) -> None:
        """``popular`` ``(num_items,)`` lies between 0 and 1: higher is more popular."""
        super().__init__()
        self.num_items = num_items
        self.register_buffer("popular", torch.zeros(num_items))

    @classmethod
    def of_size(cls, num_items: int, entries: int, rows: int) -> "Reference":
        """An empty one for a catalogue; ``entries`` and ``rows`` of its table, if it has one."""
        return cls(num_items)

    def scores(self, past: Seen, types: Tensor | None = None) -> Tensor:
        """Scores ``(N, num_items)`` after each of N pasts, in order of time; column ``i`` is item ``i + 1``.

        ``types`` ``(N,)`` from 1 are those of the users then; only a reference with :attr:`types` reads them.
        """
        raise NotImplementedError

    def macs(self, past: Seen, types: Tensor | None = None) -> Tensor:
        """Multiply-accumulates of each of the N rankings, ``(N,)`` int64."""
        return torch.zeros_like(past.lengths)

    @property
    def most_macs(self) -> int:
        """The most multiply-accumulates that one ranking can take."""
        return 0

    @property
    def weights(self) -> int:
        """Numbers that are installed beside the ranking by popularity, which every device has."""
        return 0


class Popular(Reference):
    """The most popular items, for everybody."""

    kind = "popular"

    def scores(self, past: Seen, types: Tensor | None = None) -> Tensor:
        return self.popular.repeat(len(past.lengths), 1)


class OwnRecent(Reference):
    """What the device interacted with last, then what is popular. For services in which items repeat."""

    kind = "own-recent"

    def scores(self, past: Seen, types: Tensor | None = None) -> Tensor:
        return self.popular + self._own(past)

    def _own(self, past: Seen) -> Tensor:
        """1 + the place of an item's last occurrence in each past, 0 where there is none: ``(N, num_items)``."""
        rows, places, items = _unpacked(past)
        found = self.popular.new_zeros(len(past.lengths), self.num_items)
        return found.view(-1).scatter_reduce(0, rows * self.num_items + items - 1, 1.0 + places, "amax").view_as(found)


class OwnFrequent(OwnRecent):
    """What the device interacted with most often, of equals the latest first; then what is popular."""

    kind = "own-frequent"

    def scores(self, past: Seen, types: Tensor | None = None) -> Tensor:
        rows, _, items = _unpacked(past)
        counts = self.popular.new_zeros(len(past.lengths), self.num_items)
        counts.view(-1).index_add_(0, rows * self.num_items + items - 1, self.popular.new_ones(len(items)))
        latest = self._own(past) / (past.lengths + 1).unsqueeze(1)  # below 1, so that it only orders equal counts
        return torch.where(counts > 0, counts + latest, self.popular)


class Cooccurrence(Reference):
    """Item-to-item counts: what others interacted with soon after what this device has interacted with last.

    The table is stored by rows (item before) in compressed form: ``offsets`` ``(num_items + 1,)``, ``columns`` and
    ``values`` ``(nnz,)``.
    """

    kind = "cooccurrence"
    offsets: Tensor
    columns: Tensor
    values: Tensor

    def __init__(self, num_items: int, entries: int = 0, rows: int | None = None) -> None:
        """``rows`` of the table; None: one for each item."""
        super().__init__(num_items)
        self.register_buffer("offsets", torch.zeros((num_items if rows is None else rows) + 1, dtype=torch.int64))
        self.register_buffer("columns", torch.zeros(entries, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(entries))
        self._matrix: Tensor | None = None

    @classmethod
    def of_size(cls, num_items: int, entries: int, rows: int) -> "Cooccurrence":
        return cls(num_items, entries, rows)

    def scores(self, past: Seen, types: Tensor | None = None) -> Tensor:
        recent, ages = latest(past, READ)
        rows = self.rows_of(recent, types)
        if len(self.offsets) - 1 > DENSE:
            return self._from_rows(rows, ages)
        return F.embedding_bag(rows, self._unpacked_table(), per_sample_weights=ages, mode="sum")

    def macs(self, past: Seen, types: Tensor | None = None) -> Tensor:
        """One for each entry in the rows of the items that are read."""
        sizes = F.pad(self.offsets.diff(), (1, 0))
        recent, _ = latest(past, READ)
        return sizes[self.rows_of(recent, types)].sum(1)

    def rows_of(self, items: Tensor, types: Tensor | None) -> Tensor:
        """The rows, from 1, of these ``items`` ``(N, m)``; 0 for item 0, which is none."""
        return items

    @property
    def most_macs(self) -> int:
        """Those of as many of the longest row as are read."""
        return READ * int(self.offsets.diff().max())

    @property
    def weights(self) -> int:
        """Value and column of each entry, and where each row begins."""
        return 2 * len(self.values) + len(self.offsets) - 1

    def _from_rows(self, recent: Tensor, ages: Tensor) -> Tensor:
        """Add up the rows ``recent`` ``(N, m)``, each times its weight in ``ages``, entry by entry."""
        begins = F.pad(self.offsets[:-1], (1, 0))[recent]
        sizes = F.pad(self.offsets.diff(), (1, 0))[recent]
        out = self.values.new_zeros(len(recent), self.num_items)
        for row in range(len(recent)):
            count, first = sizes[row], begins[row]
            places = torch.arange(int(count.sum())) + torch.repeat_interleave(first - (count.cumsum(0) - count), count)
            weights = torch.repeat_interleave(ages[row], count)
            out[row].index_add_(0, self.columns[places].long(), self.values[places] * weights)
        return out

    def _unpacked_table(self) -> Tensor:
        """The table as a matrix ``(rows + 1, num_items)`` whose row 0 is that of no item."""
        if self._matrix is None:
            rows = torch.repeat_interleave(torch.arange(len(self.offsets) - 1) + 1, self.offsets.diff())
            matrix = self.values.new_zeros(len(self.offsets), self.num_items)
            matrix[rows, self.columns.long()] = self.values
            self._matrix = matrix
        return self._matrix


class CooccurrenceByType(Cooccurrence):
    """An oracle: the counts of the users of one's own type, the one in force at each event.

    The tables of ``T`` types lie below each other, ``T * num_items`` rows in all.
    """

    kind = "cooccurrence-by-type"

    def __init__(self, num_items: int, entries: int, rows: int) -> None:
        super().__init__(num_items, entries, rows)
        self.types = rows // num_items

    def rows_of(self, items: Tensor, types: Tensor | None) -> Tensor:
        assert types is not None
        return torch.where(items > 0, items + (types.unsqueeze(1) - 1) * self.num_items, 0)


REFERENCES: dict[str, type[Reference]] = {
    one.kind: one for one in (Popular, OwnRecent, OwnFrequent, Cooccurrence, CooccurrenceByType)
}
"""By the kind that a model's file names."""


def latest(past: Seen, most: int) -> tuple[Tensor, Tensor]:
    """The latest items of each past ``(N, most)``, newest first and then 0, and the weights 1, 1/2, 1/3, ..."""
    ages = torch.arange(most)
    places = (past.starts + past.lengths - 1).unsqueeze(1) - ages
    there = ages < past.lengths.unsqueeze(1)
    recent = torch.where(there, past.items[places.clamp(min=0)], 0)
    return recent, (1 / (ages + 1.0)).repeat(len(recent), 1)


def _unpacked(past: Seen) -> tuple[Tensor, Tensor, Tensor]:
    """Of every item in N pasts: in which it is, its place in it from 0, and the item."""
    lengths = past.lengths
    rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    places = torch.arange(int(lengths.sum())) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    return rows, places, past.items[past.starts[rows] + places]
