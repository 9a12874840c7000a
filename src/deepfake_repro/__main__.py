"""The command line: ``python -m deepfake_repro <stage> …``. Wrong input ends with one line and exit code 2.

``score`` ends with 0 if every file got a score, 1 if some did, 2 if none did, 3 if the program itself cannot work
(a library of another version).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from .params import load, root

OF_PROFILE = {"index": "stages.index", "landmarks": "stages.landmarks", "counts": "corpus_tables.counts",
              "audit": "demo.audit.audit", "html": "html_report.write_report",
              "pretrain": "pretrain_faces.pretrain_profile"}
OF_RUN = {"train": "finetune.train_row", "predict": "prediction.predict_row", "score-row": "stages.score",
          "calibrate": "operating_points.calibrate", "robustness": "robustness.robustness"}
OWN_VIDEOS = ("score", "export-model")


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.stage in OWN_VIDEOS:
            return _score_own(chosen)
        _run(chosen)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deepfake_repro", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    stages.add_parser("assets", help="fetch, verify and unpack the demo's licensed assets")
    miniatures = stages.add_parser("miniatures", help="make the embedded miniature corpora")
    miniatures.add_argument("name")
    for name, what in (("index", "official downloads -> index table, counts beside the paper's"),
                       ("counts", "Tables 1 and 2 beside the paper's, facts about leakage"),
                       ("landmarks", "landmarks of the real crops that SBI learns from"),
                       ("pretrain", "FSFM's pre-training; under torchrun on several devices (notebook 03b takes it up)"),
                       ("audit", "shortcut audit and picture pages")):
        stages.add_parser(name, help=what).add_argument("--profile", required=True)
    stages.add_parser("html", help="the report as one page").add_argument("--profile", required=True)
    stages.add_parser("study", help="run a side study of params.yaml").add_argument("name")
    plan = stages.add_parser("plan", help="hours, disk and memory of a profile, before it is run")
    plan.add_argument("--profile", required=True)
    plan.add_argument("--images-per-second", type=float, help="training speed of another device; default: of this one")
    rehearse = stages.add_parser("rehearse", help="the paper profile at full width on the miniature corpora, minutes")
    rehearse.add_argument("rows", nargs="*", help="only these rows; default: all")
    stages.add_parser("weights", help="fetch FSFM's released start weights and check their recorded sha256")
    stages.add_parser("readme", help="write the results table of README.md anew")
    for name, what in (("score-row", "predictions of a run -> its row of Table 3"),
                       ("train", "train a row; under torchrun on several devices or nodes (notebook 05 takes it up)"),
                       ("predict", "predict a row's test sets, likewise (notebook 06 takes them up)"),
                       ("calibrate", "a run's validation scores -> operating points for scoring one's own videos"),
                       ("robustness", "AUC of a row on perturbed test crops"),
                       ("card", "print the report card of a run, with what it took")):
        run = stages.add_parser(name, help=what)
        run.add_argument("profile")
        run.add_argument("variant")
        run.add_argument("seed", type=int)
    _add_interchange(stages)
    _add_scoring(stages)
    return parser


def _add_scoring(stages: argparse._SubParsersAction) -> None:
    score = stages.add_parser("score", help="score your own videos: exit code 0 all scored, 1 some, 2 none")
    score.add_argument("videos", nargs="+", metavar="VIDEO", help="video, image, folder or 'pattern*.mp4'")
    score.add_argument("--out", type=Path, default=Path("report"), help="folder for reports and scores.csv (report)")
    model = stages.add_parser("export-model", help="weights -> safetensors, ONNX, calibration and model card")
    model.add_argument("--out", required=True, type=Path, help="a new folder")
    for parser in (score, model):
        parser.add_argument("--weights", type=Path, help="folder of a trained row or of export-model, or a fine-tuned "
                            "FSFM .pth; default: the demo's")


def _add_interchange(stages: argparse._SubParsersAction) -> None:
    export = stages.add_parser("export", help="index or crops in the formats of other code bases")
    export.add_argument("--profile", required=True)
    export.add_argument("--format", required=True, choices=("deepfakebench", "gend", "csv"))
    export.add_argument("--out", required=True, type=Path, help="a new folder; lists name frames relative to it")
    export.add_argument("--split", default="test", choices=("train", "val", "test"), help="of the crops")
    export.add_argument("--corpus", action="append", default=[], help="only this one; may be given several times")
    listing = stages.add_parser("import-deepfakebench", help="a dataset_json -> manifest.csv for the corpus itw")
    listing.add_argument("file", type=Path)
    listing.add_argument("--frames-root", required=True, type=Path, help="root of the corpus itw")
    listing.add_argument("--out", required=True, type=Path, help="manifest.csv in that root")


def _score_own(chosen: argparse.Namespace) -> int:
    """Score a user's own videos, or make the model ready for it; returns the exit code."""
    if chosen.stage == "score":
        from .guard import ProgramError
        from .score_batch import score_to
        try:
            return score_to(chosen.videos, chosen.weights, chosen.out)
        except ProgramError as error:
            print(f"error: {error}", file=sys.stderr)
            return 3
    from .export import export_model
    export_model(chosen.weights, chosen.out)
    return 0


def _run(chosen: argparse.Namespace) -> None:
    """Run one stage that answers with files."""
    if chosen.stage in OF_PROFILE:
        _called(OF_PROFILE[chosen.stage])(chosen.profile)
    elif chosen.stage in OF_RUN:
        _called(OF_RUN[chosen.stage])(chosen.profile, chosen.variant, chosen.seed)
    elif chosen.stage == "assets":
        from .assets import main as assets
        assets(root() / "data" / "assets")
    elif chosen.stage == "miniatures":
        from .demo.build import build
        out = root() / "data" / "corpora" / chosen.name
        build(chosen.name, load().miniature(chosen.name), root() / "data" / "assets", out)
    elif chosen.stage == "export":
        from .interchange import export
        export(chosen.profile, chosen.format, chosen.out, chosen.split, chosen.corpus)
    elif chosen.stage == "import-deepfakebench":
        from .interchange import import_deepfakebench
        import_deepfakebench(chosen.file, chosen.frames_root, chosen.out)
    elif chosen.stage == "card":
        from .cards import run_card
        print(run_card(chosen.profile, chosen.variant, chosen.seed))
    elif chosen.stage == "study":
        from .studies import run_study
        print(run_study(root(), chosen.name))
    elif chosen.stage == "plan":
        from .measuring import plan
        print(plan(chosen.profile, chosen.images_per_second), end="")
    elif chosen.stage == "rehearse":
        from .rehearsal import rehearse
        print(rehearse(root(), chosen.rows).to_string(index=False, na_rep="-"))
    elif chosen.stage == "weights":
        from .weights import fetch
        fetch(root() / "data" / "pretrained" / "paper", root() / "data" / "pretrained.sha256")
    else:
        from .stages import readme_with_results
        (root() / "README.md").write_text(readme_with_results(root()), encoding="utf-8")


def _called(name: str) -> Callable[..., None]:
    """``module.function`` of this package, imported only now: a cheap stage must not pay for torch."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f".{module}", __package__), function)


if __name__ == "__main__":
    sys.exit(main())
