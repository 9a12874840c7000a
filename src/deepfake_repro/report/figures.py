"""All figures of the compendium in one style; each function returns a Matplotlib figure (Section 5).

A row of Table 3 has the same colour everywhere. :func:`save` writes the same bytes for the same
figure, so that figures can be kept in git.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import PIL.Image
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from ..project.vocabulary import METRIC_NAMES, ROW_NAMES, SCENARIOS, SET_NAMES

# Ten colours that people with any colour vision tell apart, in Table 3's order; near-black for
# LNCLIP-DF.
PALETTE = [*seaborn.color_palette("colorblind", 10).as_hex(), "#222222"]
COLOURS = dict(zip(ROW_NAMES, itertools.cycle(PALETTE), strict=False))
_DIVERGING = matplotlib.colormaps["PuOr"].with_extremes(bad="0.85")

_HISTORY = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "active_fraction": "active triplets",
    "learning_rate": "learning rate",
}

SEVERITY_UNITS = {
    "jpeg": "JPEG quality",
    "resolution": "side (pixels)",
    "blur": "blur, standard deviation (pixels)",
    "noise": "noise, standard deviation (grey levels)",
}


@contextmanager
def style() -> Iterator[None]:
    """The house style while the ``with`` block runs; leaves the caller's Matplotlib settings as they were."""
    settings = {
        **seaborn.axes_style("whitegrid"),
        **seaborn.plotting_context("paper", font_scale=1.1),
        "figure.dpi": 100,
        "legend.frameon": False,
        "svg.hashsalt": "deepfake-repro",  # otherwise the ids inside an SVG are random
        "svg.fonttype": "path",
    }
    with matplotlib.rc_context(settings):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as SVG or PNG, by the suffix of ``path``; the same figure gives the same bytes.

    Folders are made as needed. Raises ``ValueError`` for another suffix.
    """
    metadata = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    if path.suffix not in metadata:
        raise ValueError(f"cannot save {path.name}: name it .svg or .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with style():
        settled(figure).savefig(path, metadata=metadata[path.suffix], dpi=90, bbox_inches="tight")


def picture(figure: Figure, colours: int | None = None) -> object:
    """The figure as a PNG that a notebook shows and stores, the same bytes each time.

    ``colours``: so many at most, which makes a drawing a quarter of its size; not for photographs.
    """
    from IPython.display import Image  # only notebooks need it

    memory = io.BytesIO()
    with style():
        settled(figure).savefig(
            memory, format="png", metadata={"Software": None}, dpi=80, bbox_inches="tight"
        )
    if colours:
        drawing = (
            PIL.Image.open(memory).convert("RGB").quantize(colours, dither=PIL.Image.Dither.NONE)
        )
        memory = io.BytesIO()
        drawing.save(memory, format="png", optimize=True)
    return Image(memory.getvalue(), alt="figure")


def roc_figure(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """ROC curves, one per row, from tables of :func:`.evaluation.metrics.roc`; the diagonal is chance."""
    with style():
        figure, axes = canvas(6.4, 4.0)
        for number, (row, curve) in enumerate(curves.items()):
            places = curve["false_positive_rate"], curve["true_positive_rate"]
            axes.plot(*places, color=_colour(row, number), label=_name(row))
        axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        figure.legend(loc="outside right upper")
        return settled(figure)


def history_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Training histories, one line per row: both losses, share of active triplets, learning rate over epochs.

    Each table has ``epoch, train_loss, validation_loss, active_fraction, learning_rate``. A dot
    marks the lowest validation loss, whose checkpoint is kept (Section 4.3).
    """
    with style():
        figure, grid = canvas(7.2, 5.0, rows=2, columns=2)
        for number, (row, history) in enumerate(histories.items()):
            colour = _colour(row, number)
            for axes, column in zip(grid.flat, _HISTORY, strict=True):
                if column in history:  # LNCLIP-DF has no triplets
                    axes.plot(history["epoch"], history[column], color=colour, label=_name(row))
            best = history.loc[history["validation_loss"].idxmin()]
            grid[0, 1].plot(best["epoch"], best["validation_loss"], "o", color=colour, markersize=5)
        for axes, title in zip(grid.flat, _HISTORY.values(), strict=True):
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper")
        return settled(figure)


def crop_sheet(images: Mapping[str, Sequence[np.ndarray]], columns: int = 8) -> Figure:
    """Contact sheet: the crops (uint8 RGB ``[H, W, 3]``) of each named group, ``columns`` to a line.

    Raises ``ValueError`` when there is no image.
    """
    lines = [
        (name if start == 0 else "", group[start : start + columns])
        for name, group in images.items()
        for start in range(0, len(group), columns)
    ]
    if not lines:
        raise ValueError("no image to show: give at least one group with a crop")
    with style():
        figure, grid = canvas(columns + 1, len(lines), rows=len(lines), columns=columns)
        for (name, group), places in zip(
            lines, np.reshape(grid, (len(lines), columns)), strict=True
        ):
            places[0].text(-0.1, 0.5, name, transform=places[0].transAxes, ha="right", va="center")
            for axes in places:
                axes.set_axis_off()
            for axes, image in zip(places, group, strict=False):
                axes.imshow(image, interpolation="nearest")
        return settled(figure)


def faces_figure(faces: pd.DataFrame) -> Figure:
    """Sizes and scores of the faces of each corpus, as the share of its faces below a value (Section 4.1).

    ``faces`` as of :func:`.crops.report.faces_of_corpora`. A corpus that stands apart was filmed,
    compressed or detected in another way: a shortcut that a detector could learn.
    """
    with style():
        figure, grid = canvas(7.2, 3.0, columns=2)
        for number, (dataset, some) in enumerate(faces.groupby("dataset")):
            for axes, column in zip(grid, ("side", "score"), strict=True):
                axes.ecdf(some[column], color=_colour(dataset, number), label=dataset)
        grid[0].set(
            xlabel="longer side of the face (pixels)", ylabel="share of faces below", xscale="log"
        )
        grid[0].xaxis.set(
            major_locator=MaxNLocator(5), major_formatter="{x:.0f}", minor_formatter=NullFormatter()
        )
        grid[1].set(xlabel="score of the face detector")
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper")
        return settled(figure)


def auc_figure(rows: Mapping[str, Mapping]) -> Figure:
    """Average AUC (percent) of each row in-distribution, out-of-distribution and in-the-wild (Table 3).

    ``rows``: content of ``scores.json`` by row key. Bars stand on chance, 50 %; an average that is missing
    has no bar.
    """
    with style():
        figure, axes = canvas(7.2, 3.4)
        width = 0.85 / max(1, len(rows))
        for number, (row, scores) in enumerate(rows.items()):
            values = np.array([scores["auc"].get(key, np.nan) for key in SCENARIOS])
            places = np.arange(len(SCENARIOS)) + (number - (len(rows) - 1) / 2) * width
            colour = _colour(row, number)
            axes.bar(places, values - 50, 0.92 * width, bottom=50, color=colour, label=_name(row))
        axes.axhline(50, color="0.3", linewidth=1)
        axes.set(
            ylabel="AUC (%)", xticks=range(len(SCENARIOS)), xticklabels=list(SCENARIOS.values())
        )
        axes.grid(axis="x", visible=False)
        figure.legend(loc="outside right upper")
        return settled(figure)


def difference_figure(cells: pd.DataFrame, profile: str) -> Figure:
    """Heat map of reproduced - published, a panel a metric, in percentage points (Table 3).

    ``cells`` as of :func:`.report.tables.comparison`. Orange is below the paper, purple above it,
    which people with any colour vision tell apart; bold where the published value is outside the
    reproduced one's interval; a cell that was not run is grey. Of another profile than ``paper``
    the title says that it is no reproduction.
    """
    with style():
        figure, panels = canvas(8.0, 8.0, rows=2, columns=1)
        reach = float(np.nanmax([1.0, *cells["difference"].abs()]))
        for axes, (metric, title) in zip(panels, METRIC_NAMES.items(), strict=True):
            part = cells[cells["metric"] == metric]
            rows = [row for row in ROW_NAMES if row in set(part["row"])]
            grid = part.pivot(index="row", columns="set", values="difference").reindex(
                index=rows, columns=SET_NAMES
            )
            shown = axes.imshow(grid, cmap=_DIVERGING, vmin=-reach, vmax=reach, aspect="auto")
            outside = (part["published"] < part["low"]) | (part["published"] > part["high"])
            _write_cells(
                axes,
                grid,
                set(part.loc[outside, ["row", "set"]].itertuples(index=False, name=None)),
            )
            axes.set_title(f"{title}, reproduced − published")
            axes.grid(visible=False)
        figure.colorbar(shown, ax=list(panels), label="percentage points", shrink=0.6)
        if profile != "paper":
            figure.suptitle(f"profile {profile}: no reproduction of the paper's figures")
        return settled(figure)


def robustness_figure(means: pd.DataFrame) -> Figure:
    """Mean AUC (percent) of each row as its test crops get worse, a panel a perturbation (not in the paper).

    ``means`` as of :func:`.evaluation.breakdown.by_condition`, whose first line is the clean
    crops': the first point of each curve. Severities stand at equal steps.
    """
    kinds = [kind for kind in means["perturbation"].unique() if kind in SEVERITY_UNITS]
    with style():
        figure, grid = canvas(7.2, 5.0, rows=2, columns=2)
        for axes, kind in zip(grid.flat, kinds, strict=False):
            part = pd.concat([means.iloc[:1], means[means["perturbation"] == kind]])
            ticks = ["clean", *(f"{severity:g}" for severity in part["severity"].iloc[1:])]
            for number, row in enumerate(part.columns[2:]):
                axes.plot(
                    range(len(part)),
                    part[row],
                    marker="o",
                    markersize=4,
                    color=_colour(row, number),
                    label=_name(row),
                )
            axes.axhline(50, color="0.6", linestyle=":", linewidth=1)
            axes.set(
                xlabel=SEVERITY_UNITS[kind],
                ylabel="AUC (%)",
                xticks=range(len(part)),
                xticklabels=ticks,
            )
        for axes in grid.flat[len(kinds) :]:
            axes.set_axis_off()
        figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside right upper")
        return settled(figure)


def reliability_figure(bins: Mapping[str, pd.DataFrame]) -> Figure:
    """Reliability diagram: share of fakes over mean P(fake), a line a row; on the diagonal a score is a probability.

    ``bins``: of :func:`.evaluation.thresholds.reliability` by row. A larger dot holds more of the weight.
    """
    with style():
        figure, axes = canvas(6.4, 4.0)
        for number, (row, table) in enumerate(bins.items()):
            places, colour = (table["confidence"], table["fakes"]), _colour(row, number)
            axes.plot(*places, color=colour, linewidth=1, label=_name(row))
            axes.scatter(*places, s=150 * table["weight"], color=colour)
        axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        axes.set(
            xlabel="mean P(fake) of the videos in a bin", ylabel="share of fakes", aspect="equal"
        )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        figure.legend(loc="outside right upper")
        return settled(figure)


def _write_cells(axes: Axes, grid: pd.DataFrame, bold: set[tuple[str, str]]) -> None:
    """Names of rows and columns, and in each cell its number."""
    axes.set(yticks=range(len(grid)), yticklabels=[_name(row) for row in grid.index])
    axes.set_xticks(range(grid.shape[1]), list(SET_NAMES.values()), rotation=30, ha="right")
    reach = axes.images[0].get_clim()[1]
    for (y, row), (x, key) in itertools.product(enumerate(grid.index), enumerate(grid.columns)):
        value = grid.loc[row, key]
        if not np.isnan(value):
            axes.text(
                x,
                y,
                f"{value:+.1f}",
                ha="center",
                va="center",
                fontsize=7,
                fontweight="bold" if (row, key) in bold else "normal",
                color="white" if abs(value) > 0.6 * reach else "black",
            )


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, Axes | np.ndarray]:
    """A figure (inches) outside pyplot, so none stays open in memory, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def settled(figure: Figure) -> Figure:
    """Lay the figure out once and for all: Matplotlib's constrained layout moves on with every drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _colour(key: str, number: int) -> str:
    """A row's own colour; other curves (a test set, a method) take the palette in their order."""
    return COLOURS.get(key, PALETTE[number % len(PALETTE)])


def _name(key: str) -> str:
    return ROW_NAMES.get(key, key)
