"""Commands for your own video.

Each function imports what it runs only when it runs: a cheap command must not pay for torch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .commands import Commands


def add(commands: Commands) -> None:
    """Add the commands with their arguments."""
    commands.group("Your own video")
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
    export = commands.add(
        "export-model", _export_model, "export weights as safetensors and ONNX with a model card"
    )
    export.add_argument("--out", required=True, type=Path, help="a new folder")
    for command in (score, export):
        command.add_argument(
            "--weights",
            type=Path,
            help="folder of a trained row or of export-model, or a fine-tuned FSFM .pth; "
            "default: the demo's",
        )


def _score(chosen: argparse.Namespace) -> int:
    from ..crops.isolation import ProgramError
    from ..scoring.batch import score_to

    try:
        return score_to(chosen.videos, chosen.weights, chosen.out)
    except ProgramError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


def _export_model(chosen: argparse.Namespace) -> None:
    from ..scoring.export import export_model

    export_model(chosen.weights, chosen.out)
