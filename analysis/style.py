"""One look for every figure: sober, at publication size, safe for colour-blind readers and for grey printers.

A method has one colour, one marker and one dash pattern everywhere, so that it is known again without its
colour. The colours are those of Okabe and Ito, Color Universal Design, 2008 (jfly.uni-koeln.de/color); the
baseline is grey.

Figures are made without pyplot, so nothing global is left behind::

    with style.use("narrow"):
        figure, axes = style.panels(2)

They are drawn in light colours; `dark` repaints the SVG of one, which is far quicker than drawing it again.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.names import BASELINE, title

Width = Literal["wide", "narrow"]
DPI = 180


@dataclass(frozen=True)
class Theme:
    """The colours of everything that is not a method."""

    ink: str
    muted: str
    grid: str
    paper: str


LIGHT = Theme(ink="#1b1d20", muted="#5c6168", grid="#dcdfe3", paper="#ffffff")
DARK = Theme(ink="#e4e6e9", muted="#a3a9b1", grid="#3a3f46", paper="#17191c")


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    colour: str
    marker: str
    dashes: tuple[float, tuple[float, ...] | None]


_GREY, _ORANGE, _SKY, _GREEN = "#7a7f86", "#E69F00", "#56B4E9", "#009E73"
_BLUE, _VERMILLION, _PURPLE = "#0072B2", "#D55E00", "#CC79A7"
_SOLID, _DASHED, _DOTTED = (0.0, None), (0.0, (5.0, 2.0)), (0.0, (1.2, 1.6))
_MIXED = (0.0, (5.0, 1.6, 1.2, 1.6))

LOOKS = {
    BASELINE: Look(_GREY, "o", _DASHED),
    "finetune": Look(_GREEN, "s", _DOTTED),
    "duet": Look(_BLUE, "^", _MIXED),
    "forward-ofa": Look(_VERMILLION, "D", _SOLID),
    "sttd": Look(_SKY, "v", _DASHED),
    "rare-gem": Look(_PURPLE, "P", _DOTTED),
    "gater": Look(_ORANGE, "X", _MIXED),
    "litepred": Look(_SKY, "p", _SOLID),
    "duet-plus": Look(_SKY, "8", _SOLID),
    "forward-ofa-plus": Look(_PURPLE, "d", _SOLID),
}
_SPARE = [
    Look(_ORANGE, "<", _DASHED),
    Look(_PURPLE, ">", _MIXED),
    Look(_SKY, "h", _DOTTED),
    Look(_GREEN, "*", _DASHED),
    Look(_BLUE, ".", _DOTTED),
    Look(_ORANGE, "H", _SOLID),
]

_width: Width = "wide"


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """How each of these methods is drawn; those without a look of their own share the spare ones, by name."""
    unknown = sorted({method for method in methods if method not in LOOKS})
    spare = {method: _SPARE[i % len(_SPARE)] for i, method in enumerate(unknown)}
    return {method: LOOKS[method] if method in LOOKS else spare[method] for method in methods}


@contextmanager
def use(width: Width = "wide") -> Iterator[None]:
    """Draw in this style, for a page (wide) or for a phone (narrow: panels below each other)."""
    global _width
    before, _width = _width, width
    try:
        with mpl.rc_context(_SETTINGS):
            yield
    finally:
        _width = before


def narrow() -> bool:
    """Whether the figure is for a phone."""
    return _width == "narrow"


def panels(count: int, height: float = 2.7, most: int = 3, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels, at most ``most`` in a row (one on a phone), each ``height`` inches
    high."""
    columns = 1 if narrow() else min(count, most)
    rows = -(-count // columns)
    size = (3.7 if narrow() else 7.2, height * rows)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, **kwargs)
    axes = list(grid.ravel())
    for extra in axes[count:]:
        extra.remove()
    return figure, axes[:count]


def letter(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Title the panels, with letters if there are several."""
    for i, (axis, text) in enumerate(zip(axes, titles, strict=True)):
        axis.set_title(f"({ascii_lowercase[i]}) {text}" if len(axes) > 1 else text, loc="left")


def legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """One legend for the whole figure, below it, where it hides nothing."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        count = min(2 if narrow() else columns, len(handles))
        figure.legend(handles, labels, loc="outside lower center", ncols=count)


def line(method: str, look: Look) -> dict[str, Any]:
    """Keyword arguments of a line with markers."""
    return {
        "color": look.colour,
        "marker": look.marker,
        "linestyle": look.dashes,
        "markeredgecolor": LIGHT.paper,
        "markeredgewidth": 0.6,
        "label": title(method),
    }


def whole_numbers(axis: Axes) -> None:
    """Ticks of the horizontal axis at whole numbers only."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def percent_axis(axis: Axes, which: Literal["x", "y"] = "y") -> None:
    """Ticks of a share from 0 to 1 in percent."""
    target = axis.yaxis if which == "y" else axis.xaxis
    target.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))


def settle(figure: Figure) -> Figure:
    """Lay the figure out once and for all, so that every file format shows the same and none does it
    again."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write ``stem``.png and ``stem``.pdf; the same figure always gives the same files."""
    figure.savefig(f"{stem}.png", dpi=DPI, metadata={"Software": None})
    figure.savefig(f"{stem}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})


def svg(figure: Figure) -> str:
    """The figure as SVG, its letters as text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def dark(light: str) -> str:
    """An SVG of :func:`svg` in dark colours; the methods keep theirs."""
    for old, new in zip(astuple(LIGHT), astuple(DARK), strict=True):
        light = light.replace(old, new)
    return light


_SETTINGS: Any = {
    "font.family": "sans-serif",
    # The first comes with matplotlib and decides the layout everywhere; a browser without it takes the next,
    # of the same width or narrower.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Roboto", "Helvetica", "Arial"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "text.color": LIGHT.ink,
    "axes.labelcolor": LIGHT.ink,
    "axes.titlecolor": LIGHT.ink,
    "axes.edgecolor": LIGHT.muted,
    "xtick.color": LIGHT.muted,
    "ytick.color": LIGHT.muted,
    "xtick.labelcolor": LIGHT.ink,
    "ytick.labelcolor": LIGHT.ink,
    "axes.facecolor": LIGHT.paper,
    "figure.facecolor": LIGHT.paper,
    "savefig.facecolor": LIGHT.paper,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT.grid,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "errorbar.capsize": 2,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "forward-ofa-sim",
    "figure.dpi": DPI,  # the layout is settled at the resolution that is written
    "figure.constrained_layout.w_pad": 0.06,
}
