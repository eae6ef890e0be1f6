"""The plot of a run: durable creates a second by callers, one panel a database."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from bench.databases import DATABASES
from bench.figures import Figures
from bench.systems import BARE, GO_REST, GRPC, REST, TUNED, TUTORIAL

# Legible on white and on black alike.
_TEXT = "#808080"
_COLOURS = {
    REST: "#2f81f7",
    GRPC: "#2da44e",
    TUTORIAL: "#d1603d",
    TUNED: "#a371f7",
    BARE: "#6e7781",
    GO_REST: "#00a0b0",
}


def plot(figures: Figures, file: Path) -> None:
    """Write the SVG; the same figures give the same file."""
    databases, callers = figures.distinct("database"), figures.distinct("callers")
    with mpl.rc_context(
        {
            "svg.hashsalt": "bench",
            "svg.fonttype": "none",
            "text.color": _TEXT,
            "axes.labelcolor": _TEXT,
            "axes.edgecolor": _TEXT,
            "xtick.color": _TEXT,
            "ytick.color": _TEXT,
            "font.family": "sans-serif",
        }
    ):
        canvas = Canvas(figsize=(9, 3.6), layout="constrained")
        axes = canvas.subplots(1, len(databases), sharey=True, squeeze=False)[0]
        for axis, database in zip(axes, databases, strict=True):
            for system, color in _COLOURS.items():
                found = [figures.get(database, system, "create", number) for number in callers]
                points = [(one.callers, one.calls_per_second) for one in found if one]
                if points:
                    axis.plot(*zip(*points, strict=True), "o-", color=color, label=system)
            axis.set_title(f"{DATABASES[database]}: durable creates a second")
            axis.set_xscale("log", base=2)
            axis.set_xticks(callers, [str(number) for number in callers])
            axis.set_xlabel("callers")
            axis.set_ylim(bottom=0)
            axis.grid(visible=True, color=_TEXT, alpha=0.25)
            axis.set_facecolor("none")
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
        lines, names = axes[0].get_legend_handles_labels()
        canvas.legend(lines, names, loc="outside lower center", ncols=len(names), frameon=False)
        canvas.savefig(file, transparent=True, metadata={"Date": None})
