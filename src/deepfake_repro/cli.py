"""The command line: ``python -m deepfake_repro <stage> …``. Wrong input ends with one line and exit code 2.

``score`` ends with 0 if every file got a score, 1 if some did, 2 if none did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .project.params import load, root
from .project.paths import ASSETS
from .project.vocabulary import LNCLIP, SBI, method_of

Command = Callable[[argparse.Namespace], int | None]
"""What a subcommand runs; it returns the exit code, or nothing for 0."""


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.run(chosen) or 0
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deepfake_repro", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    _add(stages, "assets", _assets, "fetch, verify and unpack the demo's licensed assets")
    _add(stages, "miniatures", _miniatures, "make the embedded miniature corpora").add_argument("name")
    for name, run, what in (
            ("index", _index, "official downloads -> index table, counts beside the paper's"),
            ("counts", _counts, "Tables 1 and 2 beside the paper's, facts about leakage"),
            ("landmarks", _landmarks, "landmarks of the real crops that SBI learns from"),
            ("pretrain", _pretrain, "FSFM's pre-training; under torchrun on several devices (notebook 03b takes it up)"),
            ("audit", _audit, "shortcut audit and picture pages"),
            ("html", _html, "the report as one page")):
        _add(stages, name, run, what).add_argument("--profile", required=True)
    _add(stages, "study", _study, "run a side study of params.yaml").add_argument("name")
    plan = _add(stages, "plan", _plan, "hours, disk and memory of a profile, before it is run")
    plan.add_argument("--profile", required=True)
    plan.add_argument("--images-per-second", type=float, help="training speed of another device; default: of this one")
    rehearse = _add(stages, "rehearse", _rehearse, "the paper profile at full width on the miniature corpora, minutes")
    rehearse.add_argument("rows", nargs="*", help="only these rows; default: all")
    _add(stages, "weights", _weights, "fetch FSFM's released start weights and check their recorded sha256")
    _add(stages, "readme", _readme, "write the results table of README.md anew")
    _add_runs(stages)
    _add_interchange(stages)
    _add_scoring(stages)
    return parser


def _add(stages: argparse._SubParsersAction, name: str, run: Command, what: str) -> argparse.ArgumentParser:
    """A command that calls ``run`` with what was chosen."""
    command = stages.add_parser(name, help=what)
    command.set_defaults(run=run)
    return command


def _add_runs(stages: argparse._SubParsersAction) -> None:
    for name, run, what in (
            ("score-row", _score_row, "predictions of a run -> its row of Table 3"),
            ("train", _train, "train a row; under torchrun on several devices or nodes (its notebook takes it up)"),
            ("predict", _predict, "predict a row's test sets, likewise (notebook 06 takes them up)"),
            ("calibrate", _calibrate, "a run's validation scores -> operating points for scoring one's own videos"),
            ("robustness", _robustness, "AUC of a row on perturbed test crops"),
            ("card", _card, "print the report card of a run, with what it took")):
        command = _add(stages, name, run, what)
        command.add_argument("profile")
        command.add_argument("variant")
        command.add_argument("seed", type=int)


def _add_scoring(stages: argparse._SubParsersAction) -> None:
    score = _add(stages, "score", _score, "score your own videos: exit code 0 all scored, 1 some, 2 none")
    score.add_argument("videos", nargs="+", metavar="VIDEO", help="video, image, folder or 'pattern*.mp4'")
    score.add_argument("--out", type=Path, default=Path("report"), help="folder for reports and scores.csv (report)")
    model = _add(stages, "export-model", _export_model, "weights -> safetensors, ONNX, calibration and model card")
    model.add_argument("--out", required=True, type=Path, help="a new folder")
    for parser in (score, model):
        parser.add_argument("--weights", type=Path, help="folder of a trained row or of export-model, or a fine-tuned "
                            "FSFM .pth; default: the demo's")


def _add_interchange(stages: argparse._SubParsersAction) -> None:
    export = _add(stages, "export", _export, "index or crops in the formats of other code bases")
    export.add_argument("--profile", required=True)
    export.add_argument("--format", required=True, choices=("deepfakebench", "gend", "csv"))
    export.add_argument("--out", required=True, type=Path, help="a new folder; lists name frames relative to it")
    export.add_argument("--split", default="test", choices=("train", "val", "test"), help="of the crops")
    export.add_argument("--corpus", action="append", default=[], help="only this one; may be given several times")
    listing = _add(stages, "import-deepfakebench", _import_deepfakebench,
                   "a dataset_json -> manifest.csv for the corpus itw")
    listing.add_argument("file", type=Path)
    listing.add_argument("--frames-root", required=True, type=Path, help="root of the corpus itw")
    listing.add_argument("--out", required=True, type=Path, help="manifest.csv in that root")


# Each command imports what it runs only when it runs: a cheap one must not pay for torch.

def _assets(chosen: argparse.Namespace) -> None:
    from .operations.assets import main as assets
    assets(root() / ASSETS)


def _miniatures(chosen: argparse.Namespace) -> None:
    from .demo.build import build
    out = root() / "data" / "corpora" / chosen.name
    build(chosen.name, load().miniature(chosen.name), root() / ASSETS, out)


def _index(chosen: argparse.Namespace) -> None:
    from .dataset.index import index
    index(chosen.profile)


def _counts(chosen: argparse.Namespace) -> None:
    from .dataset.tables import counts
    counts(chosen.profile)


def _landmarks(chosen: argparse.Namespace) -> None:
    from .methods.sbi.faces import landmarks
    landmarks(chosen.profile)


def _pretrain(chosen: argparse.Namespace) -> None:
    from .methods.fsfm.run import pretrain_profile
    pretrain_profile(chosen.profile)


def _audit(chosen: argparse.Namespace) -> None:
    from .report.shortcuts import audit
    audit(chosen.profile)


def _html(chosen: argparse.Namespace) -> None:
    from .report.page import write_report
    write_report(chosen.profile)


def _study(chosen: argparse.Namespace) -> None:
    from .operations.studies import run_study
    print(run_study(root(), chosen.name))


def _plan(chosen: argparse.Namespace) -> None:
    from .operations.plan import plan
    print(plan(chosen.profile, chosen.images_per_second), end="")


def _rehearse(chosen: argparse.Namespace) -> None:
    from .operations.rehearsal import rehearse
    print(rehearse(root(), chosen.rows).to_string(index=False, na_rep="-"))


def _weights(chosen: argparse.Namespace) -> None:
    from .operations.weights import fetch
    fetch(root() / "data" / "pretrained" / "paper", root() / "data" / "pretrained.sha256")


def _readme(chosen: argparse.Namespace) -> None:
    from .report.readme import readme_with_results
    (root() / "README.md").write_text(readme_with_results(root()), encoding="utf-8")


def _score_row(chosen: argparse.Namespace) -> None:
    from .evaluation.rows import score
    score(chosen.profile, chosen.variant, chosen.seed)


def _train(chosen: argparse.Namespace) -> None:
    method = method_of(chosen.variant)
    if method == SBI:
        from .methods.sbi.run import train_row
    elif method == LNCLIP:
        from .methods.lnclip.run import train_row
    else:
        from .methods.finetune.run import train_row
    train_row(chosen.profile, chosen.variant, chosen.seed)


def _predict(chosen: argparse.Namespace) -> None:
    from .evaluation.prediction import predict_row
    predict_row(chosen.profile, chosen.variant, chosen.seed)


def _calibrate(chosen: argparse.Namespace) -> None:
    from .scoring.calibration import calibrate
    calibrate(chosen.profile, chosen.variant, chosen.seed)


def _robustness(chosen: argparse.Namespace) -> None:
    from .evaluation.robustness import robustness
    robustness(chosen.profile, chosen.variant, chosen.seed)


def _card(chosen: argparse.Namespace) -> None:
    from .report.cards import run_card
    print(run_card(chosen.profile, chosen.variant, chosen.seed))


def _export(chosen: argparse.Namespace) -> None:
    from .exchange.export import export
    export(chosen.profile, chosen.format, chosen.out, chosen.split, chosen.corpus)


def _import_deepfakebench(chosen: argparse.Namespace) -> None:
    from .exchange.export import import_deepfakebench
    import_deepfakebench(chosen.file, chosen.frames_root, chosen.out)


def _score(chosen: argparse.Namespace) -> int:
    from .scoring.batch import score_to
    return score_to(chosen.videos, chosen.weights, chosen.out)


def _export_model(chosen: argparse.Namespace) -> None:
    from .scoring.export import export_model
    export_model(chosen.weights, chosen.out)
