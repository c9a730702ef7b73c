"""Curves in the style of the package's pictures, each with its name at its end; used by the scripts beside this one."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regard.show.cost import power_of_ten
from regard.show.plot import PAPER, RULE, STYLE

COLOURS = ("#1f5f99", "#b4552d", "#3d7a4e", "#6a4c93")


def curves(
    series: Mapping[str, Sequence[float]],
    places: Sequence[float],
    *,
    across: str,
    up: str,
    log_across: bool = False,
    log_up: bool = False,
) -> tuple[Figure, Axes]:
    """One curve a name over the same `places`; `across` and `up` are the labels of the axes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8), facecolor=PAPER, layout="constrained")
        axes = figure.add_subplot()
        if log_across:
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(places), [f"{place:g}" for place in places])
            axes.minorticks_off()
        if log_up:
            axes.set_yscale("log", base=10)
            axes.yaxis.set_major_formatter(lambda value, _place: power_of_ten(value))
            axes.yaxis.set_minor_formatter(lambda _value, _place: "")
        for colour, (name, values) in zip(COLOURS, series.items(), strict=False):
            axes.plot(places, values, "o-", color=colour, markersize=5)
            falls = values[-1] < 0.9 * values[0]  # then there is room below the curve
            axes.annotate(
                name,
                (places[-1], values[-1]),
                xytext=(-14, -4) if falls else (0, 8),
                textcoords="offset points",
                ha="right",
                va="center" if falls else "bottom",
                color=colour,
            )
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.margins(y=0.12)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
