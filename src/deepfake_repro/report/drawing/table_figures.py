"""Figures of Table 3: averages, differences from the paper, ROC curves, robustness, reliability."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ...project.layout import PAPER, Layout
from ...project.vocabulary import METRIC_NAMES, SET_NAMES
from ..figures import WIDTH, add_legend, describe, freeze_layout, new_grid, style
from .curves import area
from .palette import GREY, colour, dashes, marker, row_name, row_names

BASELINE = "fsfm"
"""The row to which the paper compares the others; a vertical line in the figure of averages."""
SEVERITY_UNITS = {
    "jpeg": "JPEG quality",
    "resolution": "side (pixels)",
    "blur": "blur (σ, pixels)",
    "noise": "noise (σ, grey levels)",
}
_DIVERGING = matplotlib.colormaps["PuOr"].with_extremes(bad="0.85")


def averages_figure(
    rows: Mapping[str, Mapping], intervals: pd.DataFrame | None = None, layout: Layout = PAPER
) -> Figure:
    """Draw the average AUC (percent) of each row in the scenarios of a table.

    ``rows``: content of ``scores.json`` by row key. A dot is an average, its line the 95 % interval
    in ``intervals`` (as returned by :func:`.evaluation.statistics.intervals`), if there is one. The
    dotted line is the row ``BASELINE``. A missing average has no dot.
    """
    ends = _ends(intervals)
    with style():
        figure, (panels,) = new_grid(
            WIDTH, 0.27 * len(rows) + 1.0, rows=1, columns=len(layout.scenarios)
        )
        for axes, (key, title) in zip(panels, layout.scenarios.items(), strict=True):
            for place, row in enumerate(rows):
                value = rows[row].get("auc", {}).get(key)
                if value is not None:
                    _draw_dot(axes, row, place, value, ends.get((row, key)))
            if BASELINE in rows and key in rows[BASELINE].get("auc", {}):
                axes.axvline(rows[BASELINE]["auc"][key], color=GREY, linestyle=":", zorder=0)
            axes.set_title(title.replace("-distribution", "-\ndistribution"))
            axes.set(ylim=(len(rows) - 0.5, -0.5), yticks=range(len(rows)), yticklabels=[])
        panels[0].set_yticklabels([row_name(row) for row in rows])
        lowest = [axes.dataLim.xmin for axes in panels if np.isfinite(axes.dataLim.xmin)]
        low = min(lowest, default=50.0) - 3
        for axes in panels:
            axes.set(xlim=(low, 103), xticks=[60, 80, 100] if low > 55 else [50, 75, 100])
        figure.supxlabel(f"AUC (%); dotted: {row_name(BASELINE)}", fontsize="medium")
        return describe(
            freeze_layout(figure), "Average AUC of each row", best_rows(rows, ends, layout)
        )


def best_rows(
    rows: Mapping[str, Mapping],
    ends: Mapping[tuple[str, str], tuple[float, float]],
    layout: Layout = PAPER,
) -> str:
    """Say in words which row is highest and which lowest in each scenario."""
    sentences = []
    for key, title in layout.scenarios.items():
        values = {row: rows[row].get("auc", {}).get(key) for row in rows}
        values = {row: value for row, value in values.items() if value is not None}
        if not values:
            continue
        best = max(values, key=lambda row: values[row])
        worst = min(values, key=lambda row: values[row])
        interval = ""
        if (best, key) in ends:
            low, high = ends[best, key]
            interval = f" (interval {low:.0f}–{high:.0f})"
        sentences.append(
            f"{title.capitalize()}: highest {row_name(best)}, {values[best]:.1f} %{interval}; "
            f"lowest {row_name(worst)}, {values[worst]:.1f} %."
        )
    return " ".join(sentences)


def roc_figure(curves: Mapping[str, Mapping[str, pd.DataFrame]], layout: Layout = PAPER) -> Figure:
    """Draw the ROC curves of the rows by scenario, whose areas are the averages of the table.

    ``curves``: tables of :func:`.report.curves.scenario_curves` by row. The legend has the three
    areas in percent.
    """
    with style():
        height = 2.5 + 0.2 * ((len(curves) + 1) // 2)
        figure, (panels,) = new_grid(WIDTH, height, rows=1, columns=len(layout.scenarios))
        for axes, (key, title) in zip(panels, layout.scenarios.items(), strict=True):
            for number, (row, of_row) in enumerate(curves.items()):
                points = of_row.get(key, _NO_CURVE)
                axes.plot(
                    points["false_positive_rate"],
                    points["true_positive_rate"],
                    dashes(row),
                    color=colour(row, number),
                    label=f"{row_name(row)}: {_areas(of_row, layout)}",
                )
            axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
            axes.set_title(title.replace("-distribution", "-\ndistribution"))
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=[0, 0.5, 1])
        panels[0].set_ylabel("true positive rate")
        panels[len(panels) // 2].set_xlabel("false positive rate")
        add_legend(figure, panels[0])
        rows = {row: {"auc": _area_of(of_row)} for row, of_row in curves.items()}
        return describe(
            freeze_layout(figure), "ROC curves by scenario", best_rows(rows, {}, layout)
        )


_NO_CURVE = pd.DataFrame({"false_positive_rate": [], "true_positive_rate": []})


def _area_of(curves: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    return {key: area(curve) for key, curve in curves.items()}


def _areas(curves: Mapping[str, pd.DataFrame], layout: Layout) -> str:
    areas = _area_of(curves)
    return " · ".join(f"{areas[key]:.0f}" if key in areas else "—" for key in layout.scenarios)


def difference_figure(cells: pd.DataFrame, profile: str) -> Figure:
    """Draw heat maps of reproduced minus published, one panel per metric, whole percentage points.

    ``cells`` as returned by :func:`.report.tables.comparison`. Orange is below the paper and purple
    above it, distinct for any colour vision; a cell that was not run is grey. In the profile
    ``paper`` a number is bold if the published value is outside the interval of the reproduced one;
    elsewhere no number is, and the title says that it is not a reproduction.
    """
    with style():
        rows = cells["row"].nunique()
        figure, grid = new_grid(WIDTH, 2 * (0.26 * rows + 1.1), rows=2, columns=1)
        panels = list(grid[:, 0])
        limit = float(np.nanmax([1.0, *cells["difference"].abs()]))
        for axes, (metric, title) in zip(panels, METRIC_NAMES.items(), strict=True):
            part = cells[cells["metric"] == metric]
            heat_map = _draw_differences(axes, part, limit, _outside(part, profile))
            axes.set_title(f"{title}, reproduced − published")
            axes.grid(visible=False)
        figure.colorbar(
            heat_map, ax=panels, label="percentage points", location="bottom", shrink=0.6, aspect=40
        )
        if profile != "paper":
            figure.suptitle(f"profile {profile}: no reproduction of the paper's figures")
        return describe(
            freeze_layout(figure), "Reproduced minus published", _largest_difference(cells)
        )


def robustness_figure(means: pd.DataFrame) -> Figure:
    """Draw the mean AUC (percent) of each row over severity, one panel per perturbation.

    ``means`` as returned by :func:`.evaluation.breakdown.by_condition`, whose first line is the
    clean crops: the first point of each curve. Severities are evenly spaced. Not in the paper.
    """
    kinds = [kind for kind in means["perturbation"].unique() if kind in SEVERITY_UNITS]
    with style():
        figure, grid = new_grid(WIDTH, 4.8, rows=2, columns=2)
        for axes, kind in zip(grid.flat, kinds, strict=False):
            part = pd.concat([means.iloc[:1], means[means["perturbation"] == kind]])
            ticks = ["clean", *(f"{severity:g}" for severity in part["severity"].iloc[1:])]
            for number, row in enumerate(part.columns[2:]):
                axes.plot(
                    range(len(part)),
                    part[row],
                    dashes(row),
                    marker=marker(row),
                    markersize=5,
                    color=colour(row, number),
                    label=row_name(row),
                )
            axes.axhline(50, color=GREY, linestyle=":", linewidth=1)
            axes.set(xlabel=SEVERITY_UNITS[kind], ylabel="AUC (%)")
            axes.set_xticks(range(len(part)), ticks)
        for axes in grid.flat[len(kinds) :]:
            axes.set_axis_off()
        add_legend(figure, grid[0, 0])
        return describe(freeze_layout(figure), "Mean AUC on perturbed crops", _costs(means))


def reliability_figure(bins: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw a reliability diagram: share of fakes over mean P(fake), one line per row.

    ``bins``: tables of :func:`.evaluation.thresholds.reliability` by row. A larger dot is a bin of
    more weight; a calibrated row is on the diagonal.
    """
    with style():
        figure, ((axes,),) = new_grid(4.6, 4.6, rows=1, columns=1)
        for number, (row, table) in enumerate(bins.items()):
            confidence = table["confidence"]
            fakes = table["fakes"]
            shade = colour(row, number)
            axes.plot(confidence, fakes, dashes(row), color=shade, linewidth=1, label=row_name(row))
            axes.scatter(
                confidence, fakes, s=150 * table["weight"], color=shade, marker=marker(row)
            )
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        axes.set(
            xlabel="mean P(fake) of the videos in a bin", ylabel="share of fakes", aspect="equal"
        )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        add_legend(figure, axes)
        errors = {
            row_name(row): (table["weight"] * (table["fakes"] - table["confidence"]).abs()).sum()
            for row, table in bins.items()
        }
        finding = ", ".join(f"{name} {error:.2f}" for name, error in errors.items())
        return describe(
            freeze_layout(figure),
            "Reliability diagram",
            f"Mean distance from the diagonal, weighted by bin: {finding}.",
        )


def _ends(intervals: pd.DataFrame | None) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the interval of each AUC by (row, set); one without a width is left out."""
    if intervals is None:
        return {}
    measured = intervals[(intervals["metric"] == "auc") & (intervals["low"] < intervals["high"])]
    return {(cell.row, cell.set): (cell.low, cell.high) for cell in measured.itertuples()}


def _draw_dot(
    axes: Axes, row: str, place: int, value: float, ends: tuple[float, float] | None
) -> None:
    shade = colour(row, place)
    if ends:
        axes.plot(ends, [place, place], "-", color=shade, linewidth=1.5)
    axes.plot(value, place, marker(row), color=shade, markersize=6, label=row_name(row))


def _outside(cells: pd.DataFrame, profile: str) -> set[tuple[str, str]]:
    """Find the cells of a reproduction whose published value is outside a real interval."""
    if profile != "paper":
        return set()
    measured = cells["low"] < cells["high"]
    outside = (cells["published"] < cells["low"]) | (cells["published"] > cells["high"])
    found = cells.loc[measured & outside, ["row", "set"]]
    return set(found.itertuples(index=False, name=None))


def _largest_difference(cells: pd.DataFrame) -> str:
    known = cells.dropna(subset="difference")
    if known.empty:
        return "No cell was run."
    sentences = []
    for metric, title in METRIC_NAMES.items():
        part = known[known["metric"] == metric]
        if len(part):
            largest = part.loc[part["difference"].abs().idxmax()]
            sentences.append(
                f"{title.removesuffix(' (%)')}: largest difference {largest['difference']:+.1f} "
                f"points, {row_name(largest['row'])} on {SET_NAMES[largest['set']]}."
            )
    return " ".join(sentences)


def _costs(means: pd.DataFrame) -> str:
    """Say in words which perturbation costs each row most."""
    sentences = []
    for row in means.columns[2:]:
        worst = means.loc[means[row].idxmin()]
        unit = SEVERITY_UNITS.get(worst["perturbation"], "clean crops")
        sentences.append(
            f"{row_name(row)} falls from {means[row].iloc[0]:.1f} % to {worst[row]:.1f} % "
            f"at {unit} {worst['severity']:g}."
        )
    return " ".join(sentences)


def _draw_differences(
    axes: Axes, cells: pd.DataFrame, limit: float, bold: set[tuple[str, str]]
) -> AxesImage:
    """Draw one metric's heat map, its colours from ``-limit`` to ``limit``."""
    rows = [row for row in row_names() if row in set(cells["row"])]
    grid = cells.pivot(index="row", columns="set", values="difference")
    grid = grid.reindex(index=rows, columns=SET_NAMES)
    heat_map = axes.imshow(grid, cmap=_DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    _label_cells(axes, grid, bold, limit)
    return heat_map


def _label_cells(axes: Axes, grid: pd.DataFrame, bold: set[tuple[str, str]], limit: float) -> None:
    """Write the names of rows and columns, and each cell's number."""
    axes.set(yticks=range(len(grid)), yticklabels=[row_name(row) for row in grid.index])
    axes.set_xticks(range(grid.shape[1]), list(SET_NAMES.values()), rotation=45, ha="right")
    for (y, row), (x, key) in itertools.product(enumerate(grid.index), enumerate(grid.columns)):
        value = grid.loc[row, key]
        if not np.isnan(value):
            axes.text(
                x,
                y,
                f"{value:+.0f}",
                ha="center",
                va="center",
                fontweight="bold" if (row, key) in bold else "normal",
                color="white" if abs(value) > 0.6 * limit else "black",
            )
