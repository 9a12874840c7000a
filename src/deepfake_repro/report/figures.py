"""The figures of the compendium in one style; each function returns a Matplotlib figure.

A row of Table 3 has the colour of its family everywhere (:mod:`.palette`). :func:`save` writes the
same bytes for the same figure, so that figures can be kept in git. :func:`describe` gives a figure
the text that stands for it where it cannot be seen.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
import pandas as pd
import PIL.Image
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from ..project.params import load
from .drawing.palette import PALETTE, colour, dashes, row_name

if TYPE_CHECKING:
    from IPython.display import Image

WIDTH = 6.0
"""Inches: a phone shows the letters of a figure of this width with 8 pixels."""
LETTERS = 10.0
"""Points: the smallest letters."""
RESOLUTION, PHOTOGRAPHS = 150, 100
"""Dots per inch of a PNG."""

_SCREEN = 80
"""Dots per inch at which a notebook shows a picture."""
_LETTER_SETTINGS = (
    "font.size",
    "axes.labelsize",
    "axes.titlesize",
    "xtick.labelsize",
    "ytick.labelsize",
    "legend.fontsize",
    "legend.title_fontsize",
    "figure.titlesize",
)
_LINES = ("-", "--", ":")
_LOSSES = {"train_loss": ("training", "-"), "validation_loss": ("validation", "--")}


@contextmanager
def style() -> Iterator[None]:
    """Apply the common style in the ``with`` block, then restore the Matplotlib settings."""
    settings = {
        **seaborn.axes_style("whitegrid"),
        **seaborn.plotting_context("paper"),
        **dict.fromkeys(_LETTER_SETTINGS, LETTERS),
        "figure.dpi": 100,
        "legend.frameon": False,
        "svg.hashsalt": "deepfake-repro",  # otherwise the ids in an SVG are random
        "svg.fonttype": "path",
    }
    with matplotlib.rc_context(settings):
        yield


def describe(figure: Figure, title: str, finding: str) -> Figure:
    """Give the figure a title and its finding in words, for those who cannot see it."""
    figure.set_label(f"{title}\n{finding}")
    return figure


def description(figure: Figure) -> str:
    """Return title and finding as one text; ``figure`` if it was not described."""
    return str(figure.get_label()).replace("\n", ". ") or "figure"


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as SVG or PNG, by the suffix of ``path``; same figure, same bytes.

    An SVG contains the description as ``<title>`` and ``<desc>``. Creates missing folders. Raises
    ``ValueError`` for any other suffix.
    """
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"cannot save {path.name}: name it .svg or .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        drawing = _drawn(figure, "svg", {"Date": None, "Creator": None}).decode("utf-8")
        path.write_text(_with_description(drawing, figure), encoding="utf-8", newline="\n")
    else:
        path.write_bytes(_drawn(figure, "png", {"Software": None}))


def picture(figure: Figure, colours: int | None = None) -> Image:
    """Convert the figure to a PNG that a notebook shows and stores, the same bytes each time.

    Its alternative text is the figure's description. ``colours``: maximal number of colours, which
    cuts a drawing's size to a quarter; not for photographs.
    """
    from IPython.display import Image  # only notebooks need it

    content = _drawn(figure, "png", {"Software": None})
    width = PIL.Image.open(io.BytesIO(content)).width
    if colours:
        drawing = PIL.Image.open(io.BytesIO(content)).convert("RGB")
        drawing = drawing.quantize(colours, dither=PIL.Image.Dither.NONE)
        memory = io.BytesIO()
        drawing.save(memory, format="png", optimize=True)
        content = memory.getvalue()
    shown = round(width * _SCREEN / _resolution(figure))
    return Image(content, width=shown, alt=description(figure))


def _drawn(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    memory = io.BytesIO()
    with style():
        freeze_layout(figure)
        figure.savefig(
            memory, format=kind, metadata=metadata, dpi=_resolution(figure), bbox_inches="tight"
        )
    return memory.getvalue()


def _resolution(figure: Figure) -> int:
    """Return the pixels per inch: fewer for photographs, of which every pixel counts in a PNG."""
    images = [image.get_array() for axes in figure.axes for image in axes.images]
    in_colour = any(image is not None and image.ndim == 3 for image in images)
    return PHOTOGRAPHS if in_colour else RESOLUTION


def _with_description(drawing: str, figure: Figure) -> str:
    """Put the description behind the opening tag of an SVG."""
    title, _, finding = str(figure.get_label()).partition("\n")
    if not title:
        return drawing
    end = drawing.index(">", drawing.index("<svg")) + 1
    words = f"\n <title>{escape(title)}</title>\n <desc>{escape(finding)}</desc>"
    return drawing[:end] + words + drawing[end:]


def history_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw training histories: losses and the share of active triplets over epochs.

    Each table has ``epoch, train_loss, validation_loss`` and perhaps ``active_fraction``. One row:
    both losses. Several rows have different losses, whose heights cannot be compared: each
    validation loss is then drawn as a multiple of its value after the first epoch. A dot marks the
    lowest validation loss, whose checkpoint is kept (Section 4.3).
    """
    with style():
        height = 2.6 + 0.1 * len(histories)
        figure, ((losses, active),) = new_grid(WIDTH, height, rows=1, columns=2)
        for number, (row, history) in enumerate(histories.items()):
            paint = {"color": colour(row, number), "linestyle": dashes(row)}
            if len(histories) == 1:
                _draw_losses(losses, history, paint["color"])
            else:
                relative = history["validation_loss"] / history["validation_loss"].iloc[0]
                losses.plot(history["epoch"], relative, label=row_name(row), **paint)
                _mark_lowest(losses, history["epoch"], relative, paint["color"])
            if "active_fraction" in history:  # LNCLIP-DF has no triplets
                active.plot(history["epoch"], history["active_fraction"], **paint)
        several = len(histories) > 1
        losses.set(xlabel="epoch", ylabel="validation loss ÷ first epoch's" if several else "loss")
        active.set(xlabel="epoch", ylabel="active triplets (share)", ylim=(-0.03, 1.03))
        for axes in (losses, active):
            use_whole_ticks(axes)
        add_legend(figure, losses)
        return describe(freeze_layout(figure), "Training histories", _kept_epochs(histories))


def _draw_losses(axes: Axes, history: pd.DataFrame, colour_of_row: str) -> None:
    for column, (name, line) in _LOSSES.items():
        axes.plot(history["epoch"], history[column], line, color=colour_of_row, label=name)
    _mark_lowest(axes, history["epoch"], history["validation_loss"], colour_of_row)


def _mark_lowest(axes: Axes, epochs: pd.Series, values: pd.Series, colour_of_row: str) -> None:
    best = values.idxmin()
    axes.plot(epochs[best], values[best], "o", color=colour_of_row, markersize=5)


def _kept_epochs(histories: Mapping[str, pd.DataFrame]) -> str:
    kept = [
        f"{row_name(row)} epoch {history['epoch'][history['validation_loss'].idxmin()]:.0f} "
        f"of {history['epoch'].max():.0f}"
        for row, history in histories.items()
    ]
    return f"Lowest validation loss: {', '.join(kept)}."


def crop_sheet(images: Mapping[str, Sequence[np.ndarray]], columns: int = 8) -> Figure:
    """Draw a contact sheet of the crops (uint8 RGB ``[H, W, 3]``) of each group.

    Each group starts a new line, with its name, of ``columns`` crops. In a notebook of a profile
    that shows no faces (``report.faces`` of ``params.yaml``) the sheet says so instead. Raises
    ``ValueError`` if there is no image.
    """
    lines = [
        (name if start == 0 else "", group[start : start + columns])
        for name, group in images.items()
        for start in range(0, len(group), columns)
    ]
    if not lines:
        raise ValueError("no image to show: give at least one group with a crop")
    if profile := profile_without_faces():
        return _without_faces(profile, sum(map(len, images.values())))
    with style():
        figure, grid = new_grid(columns + 1, len(lines), rows=len(lines), columns=columns)
        letters = LETTERS * max(1.0, (columns + 1) / WIDTH)
        for (name, crops), panels in zip(lines, grid, strict=True):
            label = panels[0].text(-0.1, 0.5, name, transform=panels[0].transAxes)
            label.set(ha="right", va="center", fontsize=letters)
            for axes in panels:
                axes.set_axis_off()
            for axes, crop in zip(panels, crops, strict=False):
                axes.imshow(crop, interpolation="nearest")
        counts = ", ".join(f"{len(crops)} {name}" for name, crops in images.items())
        return describe(freeze_layout(figure), "Crops", f"{counts}.")


def profile_without_faces() -> str:
    """Return the ``profile`` of the running notebook if it shows no faces; empty otherwise."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    profile = shell.user_ns.get("profile", "") if shell else ""
    hidden = bool(profile) and not load().profile(profile).report.faces
    return profile if hidden else ""


def _without_faces(profile: str, count: int) -> Figure:
    text = f"{count} crops of real people: the profile {profile} shows no faces"
    with style():
        figure, ((axes,),) = new_grid(WIDTH, 0.6, rows=1, columns=1)
        axes.set_axis_off()
        axes.text(0.5, 0.5, text, ha="center", va="center")
        return describe(freeze_layout(figure), "No faces", text)


def faces_figure(faces: pd.DataFrame) -> Figure:
    """Draw the distributions of face size and detector score in each corpus (Section 4.1).

    ``faces`` as returned by :func:`.crops.report.faces_of_corpora`; each curve is the share of
    faces below a value. A corpus apart from the others was filmed, compressed or detected
    differently: a shortcut that a detector could learn.
    """
    with style():
        figure, grid = new_grid(WIDTH, 3.0, rows=1, columns=2)
        sizes, scores = grid[0]
        for number, (dataset, group) in enumerate(faces.groupby("dataset")):
            shade = PALETTE[number % len(PALETTE)]
            line = _LINES[number // len(PALETTE) % len(_LINES)]
            sizes.ecdf(group["side"], color=shade, linestyle=line, label=dataset)
            scores.ecdf(group["score"], color=shade, linestyle=line, label=dataset)
        sizes.set(
            xlabel="longer side of the face (pixels)", ylabel="share of faces below", xscale="log"
        )
        sizes.xaxis.set(
            major_locator=MaxNLocator(5), major_formatter="{x:.0f}", minor_formatter=NullFormatter()
        )
        scores.set(xlabel="score of the face detector")
        add_legend(figure, sizes)
        medians = faces.groupby("dataset")["side"].median()
        finding = ", ".join(f"{dataset} {side:.0f}" for dataset, side in medians.items())
        return describe(
            freeze_layout(figure), "Faces of each corpus", f"Median side in pixels: {finding}."
        )


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


def add_legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Add a legend of the curves in one panel below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
