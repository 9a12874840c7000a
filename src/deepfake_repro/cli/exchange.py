"""Commands that read and write the formats of other code bases.

Each function imports what it runs only when it runs: a cheap command must not pay for torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .commands import Commands


def add(commands: Commands) -> None:
    """Add the commands with their arguments."""
    commands.group("Exchange with other code bases")
    export = commands.add_for_profile(
        "export", _export, "export index or crops in the formats of other code bases"
    )
    export.add_argument("--format", required=True, choices=("deepfakebench", "gend", "csv"))
    export.add_argument(
        "--out", required=True, type=Path, help="a new folder; lists name frames relative to it"
    )
    export.add_argument(
        "--split", default="test", choices=("train", "val", "test"), help="of the crops"
    )
    export.add_argument(
        "--corpus", action="append", default=[], help="only this one; may be given several times"
    )
    listing = commands.add(
        "import-deepfakebench",
        _import_deepfakebench,
        "turn a dataset_json into manifest.csv for the corpus itw",
    )
    listing.add_argument("file", type=Path)
    listing.add_argument("--frames-root", required=True, type=Path, help="root of the corpus itw")
    listing.add_argument("--out", required=True, type=Path, help="manifest.csv in that root")
    lists = commands.add(
        "import-gend", _import_gend, "turn GenD's lists into manifest.csv for the corpus itw"
    )
    lists.add_argument("lists", type=Path, help="folder of the lists, GenD's config/datasets")
    lists.add_argument("--frames-root", required=True, type=Path, help="root of the corpus itw")
    lists.add_argument("--out", required=True, type=Path, help="manifest.csv in that root")


def _export(chosen: argparse.Namespace) -> None:
    from ..exchange.export import export

    export(chosen.profile, chosen.format, chosen.out, chosen.split, chosen.corpus)


def _import_deepfakebench(chosen: argparse.Namespace) -> None:
    from ..exchange.export import import_deepfakebench

    import_deepfakebench(chosen.file, chosen.frames_root, chosen.out)


def _import_gend(chosen: argparse.Namespace) -> None:
    from ..exchange.export import import_gend

    import_gend(chosen.lists, chosen.frames_root, chosen.out)
