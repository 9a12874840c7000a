"""The figure of few labels: its lines are the means, its words the differences."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from deepfake_repro.methods.finetune.few_labels import COLUMNS
from deepfake_repro.report.drawing.label_figure import label_figure, write_label_figure
from deepfake_repro.report.drawing.palette import colour
from deepfake_repro.report.figures import description
from support.letters import on_a_phone

CURVE = pd.DataFrame(
    [
        (start, method, size, seed, auc + seed + size / 100)
        for start, auc in (("fsfm", 60.0), ("imagenet", 57.0))
        for method in ("linear", "fine_tuning")
        for size in (100, 300)
        for seed in (0, 2)
    ],
    columns=COLUMNS,
)


def test_lines_are_means_over_seeds() -> None:
    figure = label_figure(CURVE)
    assert [axes.get_title() for axes in figure.axes] == ["linear\nprobe", "fine-tuning"]
    lines = {to_hex(line.get_color()): list(line.get_ydata()) for line in figure.axes[0].lines[:2]}
    assert lines == {colour("fsfm"): [62.0, 64.0], colour("imagenet"): [59.0, 61.0]}


def test_the_finding_has_each_difference_with_its_verdict() -> None:
    words = description(label_figure(CURVE))
    assert "FSFM minus ImageNet pretrained" in words
    assert words.count("+3.0 (+3.0 to +3.0, above)") == 4
    mixed = CURVE.copy()
    mixed.loc[(mixed["start"] == "fsfm") & (mixed["seed"] == 0), "auc"] -= 4
    assert description(label_figure(mixed)).count("(-1.0 to +3.0, undecided)") == 4


def test_the_letters_are_readable_on_a_phone() -> None:
    assert on_a_phone(label_figure(CURVE)) >= 8


def test_the_drawing_is_the_same_each_time(tmp_path: Path) -> None:
    file = tmp_path / "curve.csv"
    CURVE.to_csv(file, index=False)
    write_label_figure(file)
    first = (tmp_path / "curve.svg").read_bytes()
    write_label_figure(file)
    assert (tmp_path / "curve.svg").read_bytes() == first


@pytest.mark.parametrize("starts", [["fsfm"], ["fsfm", "imagenet", "sbi"]])
def test_another_number_of_starts_is_drawn_without_differences(starts: list[str]) -> None:
    curve = pd.concat([CURVE[CURVE["start"] == "fsfm"].assign(start=name) for name in starts])
    assert f"{len(starts)} starts" in description(label_figure(curve))
