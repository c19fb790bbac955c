"""One look for every figure: sober, at publication size, safe for colour-blind readers and for grey printers.

A method has one colour, one marker and one dash pattern everywhere, so that it is known again without its colour. The
colours are those of Okabe and Ito, Color Universal Design, 2008 (jfly.uni-koeln.de/color); the baseline is grey.

A figure is a list of panels. It is made without pyplot, so nothing global is left behind::

    sheet = Sheet(run.methods, run.titles, "narrow")
    with style.use():
        figure = sheet.figure([Panel("Quality", lambda axis: axis.plot(...), x="session", y="NDCG@10"), ...])

Figures are drawn in light colours. :func:`svg` writes these as CSS variables, so that one file is light or dark as its
reader prefers.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.stats import BASELINE
from core.schema import BY_TYPE

Width = Literal["wide", "narrow"]
"""For a page, or for a phone: panels below each other."""
DPI = 180
_STYLE = Path(__file__).parent / "figures.mplstyle"


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
    marker: Any
    """One with a face: others vanish in their edge, which has the colour of the paper. ``(n, 1, angle)`` is a star."""
    dashes: tuple[float, tuple[float, ...] | None]


_GREY, _ORANGE, _SKY, _GREEN = "#7a7f86", "#E69F00", "#56B4E9", "#009E73"
_BLUE, _VERMILLION, _PURPLE, _BROWN = "#0072B2", "#D55E00", "#CC79A7", "#8B6F47"
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
    "popular": Look(_BROWN, "<", _MIXED),
    "recent-popular": Look(_BROWN, ">", _DOTTED),
    "cooccurrence": Look(_BROWN, "h", _DASHED),
    BY_TYPE: Look(_ORANGE, "*", _SOLID),
    "own-recent": Look(_BROWN, "H", _SOLID),
    "own-frequent": Look(_BROWN, (4, 1, 0.0), _DASHED),
}
"""Of the methods that are always drawn alike; every other one takes a spare look."""
_SPARE = [
    Look(_ORANGE, (3, 1, 0.0), _DASHED),
    Look(_PURPLE, (3, 1, 180.0), _MIXED),
    Look(_SKY, (4, 1, 45.0), _DOTTED),
    Look(_GREEN, (6, 1, 0.0), _DASHED),
    Look(_BLUE, ".", _DOTTED),
    Look(_ORANGE, (8, 1, 0.0), _SOLID),
]


@dataclass(frozen=True)
class Panel:
    """One part of a figure: its title, what draws it, the names of its axes."""

    title: str
    draw: Callable[[Axes], object]
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Sheet:
    """What a figure is drawn on: how wide it is, and how the methods of all figures beside it are called and drawn."""

    methods: Sequence[str] = ()
    """In the order of the run; the first without a look of its own takes the first spare one."""
    titles: Mapping[str, str] = field(default_factory=dict)
    references: Sequence[str] = ()
    """The methods without a network."""
    width: Width = "wide"

    @property
    def narrow(self) -> bool:
        """Whether the figure is for a phone."""
        return self.width == "narrow"

    def title(self, method: str) -> str:
        """What a method is called; one without a title keeps its own name."""
        return self.titles.get(method, method)

    def looks(self, methods: Sequence[str]) -> dict[str, Look]:
        """How each of these methods is drawn, the same on every sheet of a page."""
        unknown = [name for name in dict.fromkeys([*self.methods, *methods]) if name not in LOOKS]
        spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(unknown)}
        return {name: LOOKS.get(name) or spare[name] for name in methods}

    def line(self, method: str, look: Look) -> dict[str, Any]:
        """Keyword arguments of a line with markers."""
        return {
            "color": look.colour,
            "marker": look.marker,
            "linestyle": look.dashes,
            "markeredgecolor": LIGHT.paper,
            "markeredgewidth": 0.6,
            "label": self.title(method),
        }

    def each(self, frame: pd.DataFrame, lines: bool = True) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
        """Every method of a frame, its rows, and :meth:`line` of it; without ``lines`` only its markers."""
        for method, look in self.looks(frame["method"].unique().tolist()).items():
            arguments = self.line(method, look)
            yield method, frame[frame["method"] == method], arguments if lines else arguments | {"linestyle": "none"}

    def panels(self, count: int, height: float = 2.7, most: int = 3) -> tuple[Figure, list[Axes]]:
        """A figure of ``count`` panels, at most ``most`` in a row (one on a phone), each ``height`` inches high."""
        columns = 1 if self.narrow else min(count, most)
        rows = -(-count // columns)
        figure = Figure(figsize=(3.7 if self.narrow else 7.2, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for extra in axes[count:]:
            extra.remove()
        return figure, axes[:count]

    def figure(
        self,
        panels: Sequence[Panel],
        height: float = 2.7,
        most: int = 3,
        legend: int = 4,
        lettered: bool = True,
    ) -> Figure:
        """Draw these panels, with letters if there are several, and their legend in ``legend`` columns (0: none) below,
        where it hides nothing."""
        figure, axes = self.panels(len(panels), height, most)
        for i, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
            panel.draw(axis)
            if panel.x:
                axis.set_xlabel(panel.x)
            if panel.y:
                axis.set_ylabel(panel.y)
            letter = f"({ascii_lowercase[i]}) " if lettered and len(panels) > 1 else ""
            axis.set_title(f"{letter}{panel.title}", loc="left")
        handles, labels = next((both for axis in axes if (both := axis.get_legend_handles_labels())[0]), ([], []))
        if handles and legend:
            columns = min(2 if self.narrow else legend, len(handles))
            figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        return figure

    def bands(self, axis: Axes, frame: pd.DataFrame, value: str, low: str = "low", high: str = "high") -> None:
        """Draw a line with a band for each method, along the whole numbers in the column ``at``."""
        for _, rows, arguments in self.each(frame):
            mine = rows[rows[value].notna()]
            axis.fill_between(mine["at"], mine[low], mine[high], color=arguments["color"], alpha=0.16, linewidth=0)
            axis.plot(mine["at"], mine[value], markevery=max(1, len(mine) // 15), **arguments)
        whole_numbers(axis)
        axis.margins(x=0.03)

    def dots(self, axis: Axes, frame: pd.DataFrame, by: str, value: str, low: str = "", high: str = "") -> None:
        """Draw a point for each method in each group of the column ``by``, with bars where columns are named."""
        groups, methods = frame[by].unique().tolist(), frame["method"].nunique()
        for i, (_, rows, arguments) in enumerate(self.each(frame, lines=False)):
            mine = rows.set_index(by).reindex(groups)
            place = np.arange(len(groups)) + (i - (methods - 1) / 2) * min(0.16, 0.7 / methods)
            bars = lengths(mine, value, low, high) if low or high else None
            axis.errorbar(place, mine[value], yerr=bars, elinewidth=1, **arguments)
        crowded = len(groups) > 4 or max(len(str(group)) for group in groups) > 9
        axis.set_xticks(range(len(groups)), groups, rotation=35 if crowded else 0, ha="right" if crowded else "center")
        axis.set_xlim(-0.5, len(groups) - 0.5)
        axis.grid(axis="x", visible=False)


def lengths(frame: pd.DataFrame, value: str, low: str, high: str) -> np.ndarray:
    """How far bars reach below and above ``value``, ``(2, n)``; nothing where a column is not named or not known."""
    ends = [frame[value] - frame[low or value], frame[high or value] - frame[value]]
    return np.nan_to_num(np.stack([end.to_numpy(float) for end in ends])).clip(min=0)


@contextmanager
def use() -> Iterator[None]:
    """Draw in this style."""
    with mpl.rc_context(dict(mpl.rc_params_from_file(_STYLE, use_default_template=False))):
        yield


def whole_numbers(axis: Axes) -> None:
    """Set ticks of the horizontal axis at whole numbers only."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def percent_axis(axis: Axes, which: Literal["x", "y"] = "y") -> None:
    """Write the ticks of a share from 0 to 1 in percent."""
    target = axis.yaxis if which == "y" else axis.xaxis
    target.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))


def shares(axis: Axes) -> None:
    """Make the vertical axis one of shares, from 0 to 1 with a little room."""
    percent_axis(axis)
    axis.set_ylim(-0.04, 1.06)


def from_zero(axis: Axes) -> None:
    """Let the vertical axis begin at 0, with room above the highest point."""
    top = max(axis.dataLim.y1, 0.0)
    axis.set_ylim(0, 1.06 * top if top > 0 else 1)


def zero_line(axis: Axes) -> None:
    """Mark where a difference is none."""
    axis.axhline(0, color=LIGHT.muted, linewidth=1)


def note(axis: Axes, text: str, at: tuple[Any, Any], offset: int = 4, **other: Any) -> None:
    """Write small letters beside a point, ``offset`` points to its right (or left)."""
    axis.annotate(text, at, xytext=(offset, 0), textcoords="offset points", va="center", fontsize=6.5, **other)


def settle(figure: Figure) -> Figure:
    """Lay the figure out once and for all, so that every file format shows the same and none does it again."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write ``stem``.png and ``stem``.pdf; the same figure always gives the same files.

    The canvases write it themselves, since ``savefig`` draws it once more first, to lay out what is laid out.
    """
    figure.dpi = DPI
    FigureCanvasAgg(figure).print_png(f"{stem}.png", metadata={"Software": None})
    FigureCanvasPdf(figure).print_pdf(f"{stem}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})


def svg(figure: Figure) -> str:
    """The figure as SVG, its letters as text, its colours those of the theme that the reader prefers.

    The methods keep their colours in both.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    for name, colour in asdict(LIGHT).items():
        text = text.replace(colour, f"var(--{name})")
    light, dark = (" ".join(f"--{k}: {v};" for k, v in asdict(theme).items()) for theme in (LIGHT, DARK))
    rules = f":root {{ {light} }} @media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return text.replace("</style>", f"{rules}</style>", 1)
