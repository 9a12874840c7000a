"""Commands for your own video and your own detector.

Each function imports what it runs only when it runs: a cheap command must not pay for torch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .commands import Commands

WEIGHTS = (
    "folder of a trained row, of export-model or with a detector.json, or a released file; "
    "default: a row trained on real faces, where there is one, else the demo's"
)


def add(commands: Commands) -> None:
    """Add the commands with their arguments."""
    commands.group("Your own video")
    _add_score(commands)
    _add_export(commands)
    _add_evaluate(commands)


def _add_score(commands: Commands) -> None:
    score = commands.add("score", _score, "score videos: exit code 0 all scored, 1 some, 2 none")
    score.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="video, image, folder or 'pattern*.mp4'"
    )
    score.add_argument(
        "--out",
        type=Path,
        default=Path("report"),
        help="folder for reports and scores.csv (report)",
    )
    score.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="files at once, each decoded apart (1)"
    )
    score.add_argument(
        "--stress",
        action="store_true",
        help="show how far the score moves when the clip is saved at a lower rate, halved, "
        "letterboxed or mirrored",
    )
    score.add_argument("--video", action="store_true", help="write an annotated copy of each video")
    score.add_argument(
        "--weights",
        "--detector",
        type=Path,
        action="append",
        help=f"{WEIGHTS}; give it again for each further detector",
    )


def _add_export(commands: Commands) -> None:
    export = commands.add(
        "export-model", _export_model, "export weights as safetensors and ONNX with a model card"
    )
    export.add_argument("--out", required=True, type=Path, help="a new folder")
    export.add_argument("--weights", type=Path, help=WEIGHTS)
    export.add_argument(
        "--onnx",
        action="store_true",
        help="as a folder with model.onnx and its detector.json, which score and evaluate take",
    )


def _add_evaluate(commands: Commands) -> None:
    evaluate = commands.add_for_profile(
        "evaluate", _evaluate, "score a detector, or predictions, on a profile's test sets"
    )
    evaluate.add_argument(
        "detector", nargs="?", type=Path, help="folder with a detector.json; a Python file is run"
    )
    evaluate.add_argument(
        "--scores", type=Path, metavar="CSV", help="instead: columns 'video' or 'file', 'p_fake'"
    )
    evaluate.add_argument(
        "--name", default="", help="of the row; default: the folder's or the file's"
    )
    evaluate.add_argument(
        "--as-stored",
        action="store_true",
        help="take the stored crops although the manifest wants other ones",
    )
    evaluate.add_argument(
        "--recrop",
        action="store_true",
        help="cut the videos by the manifest's recipe instead of taking stored crops; their "
        "folders are those of data/corpora/PROFILE.yaml",
    )


def _count(text: str) -> int:
    """Read a number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: give 1 or more")
    return number


def _score(chosen: argparse.Namespace) -> int:
    from ..crops.isolation import ProgramError
    from ..scoring.batch import score_to

    try:
        return score_to(
            chosen.videos,
            chosen.weights,
            chosen.out,
            jobs=chosen.jobs,
            stress=chosen.stress,
            video=chosen.video,
        )
    except ProgramError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


def _evaluate(chosen: argparse.Namespace) -> None:
    from ..detectors.outside import evaluate_detector, evaluate_scores

    if (chosen.detector is None) == (chosen.scores is None):
        raise ValueError("give the folder of a detector, or predictions as --scores FILE.csv")
    if chosen.recrop and (chosen.as_stored or chosen.scores):
        raise ValueError("--recrop cuts videos for a detector: not with --as-stored or --scores")
    if chosen.scores:
        out = evaluate_scores(chosen.scores, chosen.profile, chosen.name)
    else:
        out = evaluate_detector(
            chosen.detector, chosen.profile, chosen.as_stored, chosen.name, anew=chosen.recrop
        )
    print(f"written to {out}")


def _export_model(chosen: argparse.Namespace) -> None:
    from ..scoring.export import export_model, export_onnx

    export = export_onnx if chosen.onnx else export_model
    export(chosen.weights, chosen.out)
