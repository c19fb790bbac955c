"""Names beside points that hide neither each other nor what is drawn.

A name takes the cheapest free place around its point. Free is what lies inside the panel, off every marker and every
name; it costs to be far from the point, to lie on a bar, and to need a line to the point. Places are found on the
figure as it is laid out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from analysis.style import LIGHT

SIZE = 6.0
"""Of the letters, in points."""
MARKER = 3.5
"""Half the side of a marker, in points."""
GAPS = (2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0)
"""How far a name may be from the marker of its point, in points."""
BESIDE = 4.0
"""Up to here a name needs no line."""
LINE, BAR = 4.0, 25.0
"""What a line costs, and what it does to lie on a bar; a point of distance costs 1."""
_TURNS = np.linspace(0, 2 * np.pi, 24, endpoint=False)


def name_points(
    figure: Figure, axis: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], bars: Sequence[Bbox] = ()
) -> None:
    """Write ``names`` beside ``points`` (in data), where they can off ``bars`` (in data).

    Call it when everything else of the figure is drawn. Names change nothing in how the figure is laid out. A name for
    which there is no free place is written to the right of its point.
    """
    figure.draw_without_rendering()
    unit = figure.dpi / 72
    places = axis.transData.transform(np.asarray(points, dtype=float).reshape(-1, 2))
    drawn = [one.transformed(axis.transData).padded(unit) for one in bars]
    panel = _Panel(axis.get_window_extent(), unit, drawn, [_around(place, MARKER * unit) for place in places])
    for point, place, name in zip(points, places, names, strict=True):
        measured = axis.text(0, 0, name, fontsize=SIZE)
        half = np.array(measured.get_window_extent().size) / 2 + 0.5 * unit
        measured.remove()
        offset, line = panel.take(place, half)
        axis.annotate(
            name,
            point,
            (offset[0] / unit, offset[1] / unit),
            textcoords="offset points",
            fontsize=SIZE,
            va="center",
            ha="center",
            in_layout=False,
            arrowprops={
                "arrowstyle": "-",
                "linewidth": 0.5,
                "color": LIGHT.muted,
                "shrinkA": 0,
                "shrinkB": MARKER,
                "relpos": (_nearest(place, place + offset, half) - place - offset) / (2 * half) + 0.5,
            }
            if line
            else None,
        )


@dataclass
class _Panel:
    """What is taken of a panel, in pixels, of which ``unit`` are a point."""

    inside: Bbox
    unit: float
    bars: list[Bbox]
    taken: list[Bbox]
    """Markers, names, and lines to them."""

    def take(self, place: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, bool]:
        """From a point to the middle of its name, which reaches as far as ``half``, and whether a line leads there."""
        right = np.array([(MARKER + GAPS[0]) * self.unit + half[0], 0.0])
        best, least = right, np.inf
        for gap in GAPS:
            for turn in _TURNS:
                toward = np.array([np.cos(turn), np.sin(turn)])
                # The name's side, or its corner, is ``gap`` beyond the marker.
                offset = toward * (MARKER + gap) * self.unit + half * np.clip(1.5 * toward, -1, 1)
                if (cost := gap + self._cost(place, offset, half, gap > BESIDE)) < least:
                    best, least, line = offset, cost, gap > BESIDE
        if least == np.inf:
            return right, False
        self.taken.append(_around(place + best, half))
        if line:
            self.taken += self._line(place, best, half)
        return best, line

    def _cost(self, place: np.ndarray, offset: np.ndarray, half: np.ndarray, line: bool) -> float:
        """Beside that of the distance; infinite where it is not free."""
        box = _around(place + offset, half)
        if not self.inside.contains(*box.min) or not self.inside.contains(*box.max) or _hit(box, self.taken):
            return np.inf
        cost = BAR * _hit(box, self.bars)
        if line:
            own, along = _around(place, MARKER * self.unit), self._line(place, offset, half)
            others = [one for one in self.taken if not one.overlaps(own)]
            if any(_hit(one, others) for one in along):
                return np.inf
            cost += LINE + BAR * float(np.mean([_hit(one, self.bars) for one in along]))
        return cost

    def _line(self, place: np.ndarray, offset: np.ndarray, half: np.ndarray) -> list[Bbox]:
        """The line from a point's marker to its name, as small boxes."""
        way = _nearest(place, place + offset, half) - place
        long = float(np.hypot(*way))
        steps = np.arange(MARKER * self.unit, long, self.unit) / long
        return [_around(place + step * way, self.unit / 2) for step in steps]


def _around(middle: np.ndarray, half: np.ndarray | float) -> Bbox:
    return Bbox([middle - half, middle + half])


def _nearest(place: np.ndarray, middle: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Of a box, what is nearest to a place."""
    found: np.ndarray = np.clip(place, middle - half, middle + half)
    return found


def _hit(box: Bbox, others: Sequence[Bbox]) -> bool:
    return any(box.overlaps(one) for one in others)
