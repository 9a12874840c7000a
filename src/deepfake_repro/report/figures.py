"""The figures of the compendium in one style; each function returns a Matplotlib figure.

A row of Table 3 has the same colour everywhere. :func:`save` writes the same bytes for the same
figure, so that figures can be kept in git.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import pandas as pd
import PIL.Image
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, NullFormatter

from ..project.vocabulary import METRIC_NAMES, ROW_NAMES, SCENARIOS, SET_NAMES

if TYPE_CHECKING:
    from IPython.display import Image

# Ten colours, distinct for any colour vision, in Table 3's order; near-black for LNCLIP-DF.
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
    """Apply the common style in the ``with`` block, then restore the Matplotlib settings."""
    settings = {
        **seaborn.axes_style("whitegrid"),
        **seaborn.plotting_context("paper", font_scale=1.1),
        "figure.dpi": 100,
        "legend.frameon": False,
        "svg.hashsalt": "deepfake-repro",  # otherwise the ids in an SVG are random
        "svg.fonttype": "path",
    }
    with matplotlib.rc_context(settings):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as SVG or PNG, by the suffix of ``path``; same figure, same bytes.

    Creates missing folders. Raises ``ValueError`` for any other suffix.
    """
    metadata = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    if path.suffix not in metadata:
        raise ValueError(f"cannot save {path.name}: name it .svg or .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with style():
        freeze_layout(figure)
        figure.savefig(path, metadata=metadata[path.suffix], dpi=90, bbox_inches="tight")


def picture(figure: Figure, colours: int | None = None) -> Image:
    """Convert the figure to a PNG that a notebook shows and stores, the same bytes each time.

    ``colours``: maximal number of colours, which cuts a drawing's size to a quarter; not for
    photographs.
    """
    from IPython.display import Image  # only notebooks need it

    memory = io.BytesIO()
    with style():
        freeze_layout(figure)
        figure.savefig(
            memory, format="png", metadata={"Software": None}, dpi=80, bbox_inches="tight"
        )
    if colours:
        drawing = PIL.Image.open(memory).convert("RGB")
        drawing = drawing.quantize(colours, dither=PIL.Image.Dither.NONE)
        memory = io.BytesIO()
        drawing.save(memory, format="png", optimize=True)
    return Image(memory.getvalue(), alt="figure")


def roc_figure(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw one ROC curve per row, from tables of :func:`.evaluation.metrics.roc`."""
    with style():
        figure, axes = new_axes(6.4, 4.0)
        for number, (row, curve) in enumerate(curves.items()):
            axes.plot(
                curve["false_positive_rate"],
                curve["true_positive_rate"],
                color=_colour(row, number),
                label=_name(row),
            )
        axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        figure.legend(loc="outside right upper")
        return freeze_layout(figure)


def history_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw training histories, one line per row: losses, active triplets and learning rate.

    Each table has ``epoch, train_loss, validation_loss, active_fraction, learning_rate``. A dot
    marks the lowest validation loss, whose checkpoint is kept (Section 4.3).
    """
    with style():
        figure, grid = new_grid(7.2, 5.0, rows=2, columns=2)
        for number, (row, history) in enumerate(histories.items()):
            colour = _colour(row, number)
            for axes, column in zip(grid.flat, _HISTORY, strict=True):
                if column in history:  # LNCLIP-DF has no triplets
                    axes.plot(history["epoch"], history[column], color=colour, label=_name(row))
            best = history.loc[history["validation_loss"].idxmin()]
            grid[0, 1].plot(best["epoch"], best["validation_loss"], "o", color=colour, markersize=5)
        for axes, title in zip(grid.flat, _HISTORY.values(), strict=True):
            axes.set(xlabel="epoch", ylabel=title)
            use_whole_ticks(axes)
        _add_legend(figure, grid[0, 0])
        return freeze_layout(figure)


def crop_sheet(images: Mapping[str, Sequence[np.ndarray]], columns: int = 8) -> Figure:
    """Draw a contact sheet of the crops (uint8 RGB ``[H, W, 3]``) of each group.

    Each group starts a new line, with its name, of ``columns`` crops. Raises ``ValueError`` if
    there is no image.
    """
    lines = [
        (name if start == 0 else "", group[start : start + columns])
        for name, group in images.items()
        for start in range(0, len(group), columns)
    ]
    if not lines:
        raise ValueError("no image to show: give at least one group with a crop")
    with style():
        figure, grid = new_grid(columns + 1, len(lines), rows=len(lines), columns=columns)
        for (name, crops), panels in zip(lines, grid, strict=True):
            panels[0].text(-0.1, 0.5, name, transform=panels[0].transAxes, ha="right", va="center")
            for axes in panels:
                axes.set_axis_off()
            for axes, crop in zip(panels, crops, strict=False):
                axes.imshow(crop, interpolation="nearest")
        return freeze_layout(figure)


def faces_figure(faces: pd.DataFrame) -> Figure:
    """Draw the distributions of face size and detector score in each corpus (Section 4.1).

    ``faces`` as returned by :func:`.crops.report.faces_of_corpora`; each curve is the share of
    faces below a value. A corpus apart from the others was filmed, compressed or detected
    differently: a shortcut that a detector could learn.
    """
    with style():
        figure, grid = new_grid(7.2, 3.0, rows=1, columns=2)
        sizes, scores = grid[0]
        for number, (dataset, group) in enumerate(faces.groupby("dataset")):
            colour = _colour(dataset, number)
            sizes.ecdf(group["side"], color=colour, label=dataset)
            scores.ecdf(group["score"], color=colour, label=dataset)
        sizes.set(
            xlabel="longer side of the face (pixels)", ylabel="share of faces below", xscale="log"
        )
        sizes.xaxis.set(
            major_locator=MaxNLocator(5), major_formatter="{x:.0f}", minor_formatter=NullFormatter()
        )
        scores.set(xlabel="score of the face detector")
        _add_legend(figure, sizes)
        return freeze_layout(figure)


def auc_figure(rows: Mapping[str, Mapping]) -> Figure:
    """Draw the average AUC (percent) of each row in the three scenarios (Table 3).

    ``rows``: content of ``scores.json`` by row key. Bars start at chance, 50 %; a missing average
    has no bar.
    """
    with style():
        figure, axes = new_axes(7.2, 3.4)
        width = 0.85 / max(1, len(rows))
        for number, (row, scores) in enumerate(rows.items()):
            values = np.array([scores["auc"].get(key, np.nan) for key in SCENARIOS])
            centres = np.arange(len(SCENARIOS)) + (number - (len(rows) - 1) / 2) * width
            colour = _colour(row, number)
            axes.bar(centres, values - 50, 0.92 * width, bottom=50, color=colour, label=_name(row))
        axes.axhline(50, color="0.3", linewidth=1)
        axes.set(
            ylabel="AUC (%)", xticks=range(len(SCENARIOS)), xticklabels=list(SCENARIOS.values())
        )
        axes.grid(axis="x", visible=False)
        figure.legend(loc="outside right upper")
        return freeze_layout(figure)


def difference_figure(cells: pd.DataFrame, profile: str) -> Figure:
    """Draw heat maps of reproduced minus published, one panel per metric, percentage points.

    ``cells`` as returned by :func:`.report.tables.comparison`. Orange is below the paper and purple
    above it, distinct for any colour vision; a number is bold if the published value is outside the
    interval of the reproduced one; a cell that was not run is grey. For a profile other than
    ``paper`` the title says that it is not a reproduction.
    """
    with style():
        figure, grid = new_grid(8.0, 8.0, rows=2, columns=1)
        panels = list(grid[:, 0])
        limit = float(np.nanmax([1.0, *cells["difference"].abs()]))
        for axes, (metric, title) in zip(panels, METRIC_NAMES.items(), strict=True):
            heat_map = _draw_differences(axes, cells[cells["metric"] == metric], limit)
            axes.set_title(f"{title}, reproduced − published")
            axes.grid(visible=False)
        figure.colorbar(heat_map, ax=panels, label="percentage points", shrink=0.6)
        if profile != "paper":
            figure.suptitle(f"profile {profile}: no reproduction of the paper's figures")
        return freeze_layout(figure)


def robustness_figure(means: pd.DataFrame) -> Figure:
    """Draw the mean AUC (percent) of each row over severity, one panel per perturbation.

    ``means`` as returned by :func:`.evaluation.breakdown.by_condition`, whose first line is the
    clean crops: the first point of each curve. Severities are evenly spaced. Not in the paper.
    """
    kinds = [kind for kind in means["perturbation"].unique() if kind in SEVERITY_UNITS]
    with style():
        figure, grid = new_grid(7.2, 5.0, rows=2, columns=2)
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
        _add_legend(figure, grid[0, 0])
        return freeze_layout(figure)


def reliability_figure(bins: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw a reliability diagram: share of fakes over mean P(fake), one line per row.

    ``bins``: tables of :func:`.evaluation.thresholds.reliability` by row. A larger dot is a bin of
    more weight; a calibrated row is on the diagonal.
    """
    with style():
        figure, axes = new_axes(6.4, 4.0)
        for number, (row, table) in enumerate(bins.items()):
            confidence = table["confidence"]
            fakes = table["fakes"]
            colour = _colour(row, number)
            axes.plot(confidence, fakes, color=colour, linewidth=1, label=_name(row))
            axes.scatter(confidence, fakes, s=150 * table["weight"], color=colour)
        axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
        axes.set(
            xlabel="mean P(fake) of the videos in a bin", ylabel="share of fakes", aspect="equal"
        )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        figure.legend(loc="outside right upper")
        return freeze_layout(figure)


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure (inches) with one panel, outside pyplot, which would keep it in memory."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def new_grid(width: float, height: float, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Make a figure (inches) like :func:`new_axes`, with an array ``[rows, columns]`` of panels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def freeze_layout(figure: Figure) -> Figure:
    """Lay the figure out once; Matplotlib's constrained layout would shift with every drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def use_whole_ticks(axes: Axes) -> None:
    """Put the ticks of the horizontal axis at whole numbers: epochs, years."""
    locator = axes.xaxis.get_major_locator()
    assert isinstance(locator, MaxNLocator)  # the default of a linear axis
    locator.set_params(integer=True)


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Add a legend of the curves in one panel, for all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")


def _draw_differences(axes: Axes, cells: pd.DataFrame, limit: float) -> AxesImage:
    """Draw one metric's heat map, its colours from ``-limit`` to ``limit``."""
    rows = [row for row in ROW_NAMES if row in set(cells["row"])]
    grid = cells.pivot(index="row", columns="set", values="difference")
    grid = grid.reindex(index=rows, columns=SET_NAMES)
    heat_map = axes.imshow(grid, cmap=_DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    outside = (cells["published"] < cells["low"]) | (cells["published"] > cells["high"])
    bold = set(cells.loc[outside, ["row", "set"]].itertuples(index=False, name=None))
    _label_cells(axes, grid, bold, limit)
    return heat_map


def _label_cells(axes: Axes, grid: pd.DataFrame, bold: set[tuple[str, str]], limit: float) -> None:
    """Write the names of rows and columns, and each cell's number."""
    axes.set(yticks=range(len(grid)), yticklabels=[_name(row) for row in grid.index])
    axes.set_xticks(range(grid.shape[1]), list(SET_NAMES.values()), rotation=30, ha="right")
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
                color="white" if abs(value) > 0.6 * limit else "black",
            )


def _colour(key: str, number: int) -> str:
    """Return a row's own colour; other curves take the palette's colours in their order."""
    return COLOURS.get(key, PALETTE[number % len(PALETTE)])


def _name(key: str) -> str:
    return ROW_NAMES.get(key, key)
