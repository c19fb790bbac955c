"""One look for every figure: sober, at publication size, safe for colour-blind readers and for grey printers.

A method has one colour, one marker and one dash pattern everywhere, so that it is known again without its colour. The
colours are those of Okabe and Ito, Color Universal Design, 2008 (jfly.uni-koeln.de/color); the baseline is grey.

Figures are made without pyplot, so nothing global is left behind::

    sheet = Sheet(run.methods, run.titles, "narrow")
    with style.use():
        figure, axes = sheet.panels(2)

They are drawn in light colours. :func:`svg` writes these as CSS variables, so that one file is light or dark as its
reader prefers.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.stats import BASELINE

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
    marker: str
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
    "own-recent": Look(_BROWN, "1", _SOLID),
    "own-frequent": Look(_BROWN, "2", _DASHED),
}
"""Of the methods that are always drawn alike; every other one takes a spare look."""
_SPARE = [
    Look(_ORANGE, "3", _DASHED),
    Look(_PURPLE, "4", _MIXED),
    Look(_SKY, "+", _DOTTED),
    Look(_GREEN, "*", _DASHED),
    Look(_BLUE, ".", _DOTTED),
    Look(_ORANGE, "H", _SOLID),
]


@dataclass(frozen=True)
class Sheet:
    """What a figure is drawn on: how wide it is, and how the methods of all figures beside it are called and drawn."""

    methods: Sequence[str] = ()
    """In the order of the run; the first without a look of its own takes the first spare one."""
    titles: Mapping[str, str] = field(default_factory=dict)
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

    def panels(self, count: int, height: float = 2.7, most: int = 3, **kwargs: Any) -> tuple[Figure, list[Axes]]:
        """A figure of ``count`` panels, at most ``most`` in a row (one on a phone), each ``height`` inches high."""
        columns = 1 if self.narrow else min(count, most)
        rows = -(-count // columns)
        figure = Figure(figsize=(3.7 if self.narrow else 7.2, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False, **kwargs).ravel())
        for extra in axes[count:]:
            extra.remove()
        return figure, axes[:count]

    def legend(self, figure: Figure, axis: Axes, columns: int = 4) -> None:
        """One legend for the whole figure, below it, where it hides nothing."""
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            count = min(2 if self.narrow else columns, len(handles))
            figure.legend(handles, labels, loc="outside lower center", ncols=count)


@contextmanager
def use() -> Iterator[None]:
    """Draw in this style."""
    with mpl.rc_context(dict(mpl.rc_params_from_file(_STYLE, use_default_template=False))):
        yield


def letter(axes: Sequence[Axes], titles: Sequence[str]) -> None:
    """Title the panels, with letters if there are several."""
    for i, (axis, text) in enumerate(zip(axes, titles, strict=True)):
        axis.set_title(f"({ascii_lowercase[i]}) {text}" if len(axes) > 1 else text, loc="left")


def whole_numbers(axis: Axes) -> None:
    """Ticks of the horizontal axis at whole numbers only."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def percent_axis(axis: Axes, which: Literal["x", "y"] = "y") -> None:
    """Ticks of a share from 0 to 1 in percent."""
    target = axis.yaxis if which == "y" else axis.xaxis
    target.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))


def settle(figure: Figure) -> Figure:
    """Lay the figure out once and for all, so that every file format shows the same and none does it again."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write ``stem``.png and ``stem``.pdf; the same figure always gives the same files."""
    figure.savefig(f"{stem}.png", dpi=DPI, metadata={"Software": None})
    figure.savefig(f"{stem}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})


def svg(figure: Figure) -> str:
    """The figure as SVG, its letters as text, its colours those of the theme that the reader prefers.

    The methods keep their colours in both.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    for name, colour in asdict(LIGHT).items():
        text = text.replace(colour, f"var(--{name})")
    light, dark = (" ".join(f"--{k}: {v};" for k, v in asdict(theme).items()) for theme in (LIGHT, DARK))
    rules = f":root {{ {light} }} @media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return text.replace("</style>", f"{rules}</style>", 1)
