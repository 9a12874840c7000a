"""The way through the lessons: their order, the short path, and the line that links them."""

from __future__ import annotations

from typing import NamedTuple

PAPERS = {
    "A": "https://doi.org/10.1145/3746275.3762208",
    "B": "https://arxiv.org/abs/2508.06248",
}
COLAB = "../docs/teaching.md#colab-and-binder"
"""What a notebook needs there; the published book also has a button for each page."""


class Lesson(NamedTuple):
    """A notebook, its step in the picture of the pipeline, and the paper it is about."""

    notebook: str
    step: str
    paper: str = "A"


LESSONS = (
    Lesson("00_start_here", "start"),
    Lesson("01_corpora", "corpora"),
    Lesson("02_crops", "crops"),
    Lesson("03_sampling", "sample"),
    Lesson("03b_pretrain", "pretrain"),
    Lesson("04_triplets", "triplets"),
    Lesson("05_finetune", "train"),
    Lesson("05b_sbi", "train"),
    Lesson("06_predict", "predict"),
    Lesson("07_results", "report"),
    Lesson("08_embeddings", "embeddings"),
    Lesson("09_layernorm_clip", "train", "B"),
    Lesson("10_score_your_video", "your video"),
    Lesson("11_what_generalises", "report"),
    Lesson("12_your_detector", "predict"),
)
"""All lessons in order: the long path."""
SHORT_PATH = ("00_start_here", "01_corpora", "04_triplets", "07_results", "10_score_your_video")
"""The lessons for one evening."""


def links(notebook: str) -> str:
    """Return the line below a lesson's title: previous, next, contents, glossary, paper, Colab.

    Raises ``ValueError`` for a notebook that is not a lesson.
    """
    names = [lesson.notebook for lesson in LESSONS]
    here = names.index(notebook)
    parts = []
    if here > 0:
        parts.append(f"← {_link(names[here - 1])}")
    if here + 1 < len(names):
        parts.append(f"{_link(names[here + 1])} →")
    if here > 0:
        parts.append("[all lessons](00_start_here.ipynb#all-lessons)")
    parts.append("[glossary](../docs/glossary.md)")
    parts.append(f"[paper]({PAPERS[LESSONS[here].paper]})")
    parts.append(f"[Colab]({COLAB})")
    return " · ".join(parts)


def you_are_here(notebook: str) -> str:
    """Return the steps of the pipeline with that of a lesson in bold."""
    (current,) = (lesson.step for lesson in LESSONS if lesson.notebook == notebook)
    steps = dict.fromkeys(lesson.step for lesson in LESSONS)
    marked = [f"**{step}**" if step == current else step for step in steps]
    return f"You are here: {' → '.join(marked)}"


def _link(notebook: str) -> str:
    number = notebook.partition("_")[0]
    return f"[{number}]({notebook}.ipynb)"
