"""Commands that the stages of ``dvc.yaml`` run.

Each function imports what it runs only when it runs: a cheap command must not pay for torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..project.params import load, root
from ..project.paths import ASSETS
from ..project.vocabulary import LNCLIP, SBI, method_of
from .commands import Commands


def add(commands: Commands) -> None:
    """Add the commands with their arguments."""
    commands.group("The pipeline (dvc repro runs these in the right order)")
    _add_data_stages(commands)
    _add_model_stages(commands)
    _add_notebook_commands(commands)


def _add_data_stages(commands: Commands) -> None:
    commands.add("code", _code, "write the code of each stage to results/code")
    commands.add("assets", _assets, "fetch, verify and unpack the demo's licensed assets")
    commands.add(
        "landmarks-of-people", _landmarks_of_people, "find the landmarks stored for the demo again"
    )
    commands.add("miniatures", _miniatures, "make the miniature corpora").add_argument(
        "name", help="demo or smoke"
    )
    commands.add_for_profile(
        "index", _index, "read the official downloads into one table of videos"
    ).add_argument("--part", required=True, help="training, unseen, or a corpus of your own")
    commands.add_for_profile(
        "counts", _counts, "compare Tables 1 and 2 with the paper's; leakage between splits"
    )
    commands.add_for_profile(
        "landmarks", _landmarks, "find the landmarks of the real crops that SBI learns from"
    )
    commands.add_for_profile(
        "controls", _controls, "score untrained controls such as the sharpness of the face"
    )
    commands.add_for_profile(
        "audit", _audit, "audit the crops for shortcuts and draw example crops"
    )


def _add_model_stages(commands: Commands) -> None:
    commands.add_for_profile(
        "pretrain", _pretrain, "pre-train FSFM; several devices by torchrun, then notebook 03b"
    )
    commands.add_for_run(
        "train", _train, "train a row; several devices or nodes by torchrun, then its notebook"
    )
    commands.add_for_run(
        "predict", _predict, "predict a row's test sets; likewise, then notebook 06"
    )
    commands.add_for_run(
        "score-row", _score_row, "compute a run's row of Table 3 from its predictions"
    )
    commands.add_for_run(
        "score-own", _score_own, "predict and score a run on a test corpus of your own"
    ).add_argument("corpus", help="its name in data/own_corpora.yaml")
    commands.add_for_run(
        "calibrate", _calibrate, "compute operating points from a run's validation scores"
    )
    commands.add_for_run("robustness", _robustness, "measure a row's AUC on perturbed test crops")
    commands.add_for_profile(
        "labels", _labels, "measure the AUC of start weights against the number of labelled crops"
    )
    commands.add_for_profile("html", _html, "write the report as one page")


def _add_notebook_commands(commands: Commands) -> None:
    notebook = commands.add(
        "notebook", _notebook, "execute a notebook of the pipeline through Papermill"
    )
    notebook.add_argument("name", help="such as 05_finetune")
    notebook.add_argument("target", type=Path, help="path of the executed notebook")
    notebook.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    weave = commands.add(
        "weave", _weave, "put the prose of a notebook between the cells of its executed copy"
    )
    weave.add_argument("name", help="such as 07_results")
    weave.add_argument("target", type=Path, help="path of the executed notebook")
    slides = commands.add(
        "slides", _slides, "write slides of executed notebooks, which need no network"
    )
    slides.add_argument(
        "notebooks", nargs="*", type=Path, help="executed copies; without any, those of 00, 04, 07"
    )
    slides.add_argument("--out", type=Path, default=Path(".scratch"), help="folder of the pages")
    slides.add_argument("--code", action="store_true", help="show the code cells too")


def _code(chosen: argparse.Namespace) -> None:
    from ..operations.stage_code import write_stage_code
    from . import functions

    write_stage_code(root(), functions())


def _assets(chosen: argparse.Namespace) -> None:
    from ..operations.assets import fetch_assets

    fetch_assets(root() / ASSETS)


def _landmarks_of_people(chosen: argparse.Namespace) -> None:
    from ..demo.people import write_landmarks

    write_landmarks(root() / ASSETS)


def _miniatures(chosen: argparse.Namespace) -> None:
    from ..demo.build import build

    out = root() / "data" / "corpora" / chosen.name
    build(chosen.name, load().miniature(chosen.name), root() / ASSETS, out)


def _index(chosen: argparse.Namespace) -> int:
    from ..dataset.index import write_index

    return write_index(chosen.profile, chosen.part)


def _counts(chosen: argparse.Namespace) -> None:
    from ..dataset.tables import write_counts

    write_counts(chosen.profile)


def _landmarks(chosen: argparse.Namespace) -> None:
    from ..methods.sbi.faces import landmarks

    landmarks(chosen.profile)


def _controls(chosen: argparse.Namespace) -> None:
    from ..evaluation.controls import write_controls

    write_controls(chosen.profile)


def _audit(chosen: argparse.Namespace) -> None:
    from ..report.shortcuts import audit

    audit(chosen.profile)


def _pretrain(chosen: argparse.Namespace) -> None:
    from ..methods.fsfm.run import pretrain_profile

    pretrain_profile(chosen.profile)


def _train(chosen: argparse.Namespace) -> None:
    run = (chosen.profile, chosen.variant, chosen.seed)
    method = method_of(chosen.variant)
    if method == SBI:
        from ..methods.sbi.run import train_row as train_sbi

        train_sbi(*run)
    elif method == LNCLIP:
        from ..methods.lnclip.run import train_row as train_lnclip

        train_lnclip(*run)
    else:
        from ..methods.finetune.run import train_row as finetune

        finetune(*run)


def _predict(chosen: argparse.Namespace) -> None:
    from ..evaluation.prediction import predict_row

    predict_row(chosen.profile, chosen.variant, chosen.seed)


def _score_row(chosen: argparse.Namespace) -> None:
    from ..evaluation.rows import score

    score(chosen.profile, chosen.variant, chosen.seed)


def _score_own(chosen: argparse.Namespace) -> None:
    from ..evaluation.prediction import score_own

    score_own(chosen.profile, chosen.variant, chosen.seed, chosen.corpus)


def _calibrate(chosen: argparse.Namespace) -> None:
    from ..scoring.calibration import calibrate

    calibrate(chosen.profile, chosen.variant, chosen.seed)


def _robustness(chosen: argparse.Namespace) -> None:
    from ..evaluation.robustness import run_study

    run_study(chosen.profile, chosen.variant, chosen.seed)


def _labels(chosen: argparse.Namespace) -> None:
    from ..methods.finetune.label_curve import write_curve
    from ..report.drawing.label_figure import write_label_figure

    write_label_figure(write_curve(chosen.profile))


def _html(chosen: argparse.Namespace) -> None:
    from ..report.pages.page import write_report

    write_report(chosen.profile)


def _notebook(chosen: argparse.Namespace) -> None:
    from ..project.notebooks import parse, run

    run(
        root() / "results" / ".clean" / f"{chosen.name}.ipynb",
        chosen.target,
        parse(chosen.parameters),
    )


def _weave(chosen: argparse.Namespace) -> None:
    from ..project.notebooks import weave

    weave(chosen.target, root() / "notebooks" / f"{chosen.name}.ipynb", chosen.target)


def _slides(chosen: argparse.Namespace) -> None:
    from ..report.pages.slides import write_slides

    results = root() / "results" / "demo"
    sources = chosen.notebooks or [
        results / "lessons" / "00_start_here.ipynb",
        results / "lessons" / "04_triplets.ipynb",
        results / "report" / "results.ipynb",
    ]
    for page in write_slides(sources, chosen.out, chosen.code):
        print(page)
