"""Quality against cost as a picture: one dot a system."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from regard.show.plot import INK, PAPER, RULE, STYLE

_DOT = "#1f5f99"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Dot(NamedTuple):
    """A system: what it cost, what it scores, and the half width of the score's confidence interval (0: unknown)."""

    name: str
    cost: float
    score: float
    half_width: float = 0.0


def cost_plot(dots: Sequence[Dot], *, cost: str, score: str) -> Figure:
    """The systems, each with its name; `cost` and `score` are the labels of the axes. Wide ranges are logarithmic."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.6), facecolor=PAPER, layout="constrained")
        axes = figure.add_subplot()
        costs = [dot.cost for dot in dots]
        is_wide = max(costs) >= 10 * min(costs)
        if is_wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _place: power_of_ten(value))
            axes.xaxis.set_minor_formatter(lambda _value, _place: "")
        axes.set_xlabel(cost)
        axes.set_ylabel(score)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        for rank, dot in enumerate(sorted(dots, key=lambda dot: dot.cost)):
            error = [[dot.half_width], [dot.half_width]] if dot.half_width else None
            axes.errorbar(dot.cost, dot.score, yerr=error, fmt="o", color=_DOT, ecolor=RULE, capsize=3, markersize=6)
            above = rank % 2 == 0  # neighbours' names stand on different sides
            axes.annotate(
                dot.name,
                (dot.cost, dot.score),
                xytext=(0, 8 if above else -8),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=9,
                color=INK,
            )
        axes.margins(x=0.14, y=0.14)
    return figure


def power_of_ten(value: float) -> str:
    """A power of ten as it is read: 0.1, 10, 1,000, 10¹⁹."""
    exponent = round(math.log10(value))
    if -3 <= exponent <= 4:
        return f"{10.0**exponent:,g}" if exponent < 0 else f"{10**exponent:,}"
    return "10" + str(exponent).translate(_RAISED)
