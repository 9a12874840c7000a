"""DFDM (Jia et al. 2022): five auto-encoders at three compressions; the reals are Celeb-DF's, to be put beside.

Known from third parties: the folders ``DFDM_crf{0,10,23}``, the names
``<target>_<source>_<recording>_<tag>``, and that the release has no reals. Not known: whether a
folder per model lies inside, and which compression and which reals LNCLIP-DF scores. A fake outside
the five models' folders is indexed as ``unknown``, which the report counts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..checks import remark
from ..files import Tree, clips_in, descend, folders, locate, videos_below
from ..schema import Adapter, IndexReport, Video

OFFICIAL = {
    "test": (590, 2150)
}  # third party, one compression of three: 6,450 fakes in all, 590 Celeb-real
COMPRESSIONS = ("crf0", "crf10", "crf23")
MODELS = ("faceswap", "lightweight", "iae", "dfaker", "dfl-h128")
REALS = (("Celeb-real",), ("Celeb-DF-v2", "Celeb-real"))
NAME = re.compile(r"(?P<target>id\d+)_(?P<source>id\d+)_(?P<recording>\d+)_(?P<tag>.+)")


def read(root: Path, compression: str = "crf23") -> tuple[list[Video], IndexReport]:
    """Fakes of one compression and all of ``Celeb-real/`` (or ``Celeb-DF-v2/Celeb-real/``) in the root."""
    if compression not in COMPRESSIONS:
        raise ValueError(
            f"dfdm: compression '{compression}' is not one of {', '.join(COMPRESSIONS)}"
        )
    level = f"DFDM_{compression}"
    tree = locate("dfdm", root, lambda folder: descend(folder, level), f"{level}/")
    places = [descend(base, *parts) for base in (tree.base, root) for parts in REALS]
    folder = next(filter(None, places), None)
    if folder is None:
        raise FileNotFoundError(
            "dfdm: 'Celeb-real/' is missing; DFDM ships no reals, its fakes are scored against "
            "those of Celeb-DF v2: put or link them beside the fakes"
        )
    beside = Tree("dfdm", root, folder.parent)
    reals = {place.stem.lower(): _real(beside, place, kind) for place, kind in clips_in(folder)}
    fakes = [
        _fake(tree, place, compression, reals) for place in videos_below(descend(tree.base, level))
    ]
    notes = remark(
        "fakes outside a folder of the five models: method unknown",
        (video.path for video in fakes if video.manipulation == "unknown"),
    )
    notes += remark(
        "names not like id28_id20_0008_4dfaker: pairs left empty",
        (video.path for video in fakes if not video.target_id),
    )
    notes += remark(
        "other compressions left out",
        (
            found.name
            for found in folders(tree.base)
            if found.name.lower()
            in {f"dfdm_{other}" for other in COMPRESSIONS if other != compression}
        ),
    )
    return [*reals.values(), *fakes], IndexReport("dfdm", len(reals) + len(fakes), notes=notes)


def _real(tree: Tree, place: Path, kind: str) -> Video:
    target = place.stem.lower().partition("_")[0]
    return Video(
        tree.video_id(place),
        tree.path(place),
        kind,
        0,
        "real",
        "REAL",
        "dfdm",
        "test",
        "derived",
        target_id=target,
        group=target,
    )


def _fake(tree: Tree, place: Path, compression: str, reals: dict[str, Video]) -> Video:
    own, inner = (
        tree.video_id(place),
        {part.lower() for part in place.relative_to(tree.base).parts[1:-1]},
    )
    model = next((name for name in MODELS if name in inner), "unknown")
    match = NAME.fullmatch(place.stem.lower())
    cell = match.groupdict() if match else dict.fromkeys(NAME.groupindex, "")
    pair = reals.get(f"{cell['target']}_{cell['recording']}")
    return Video(
        own,
        tree.path(place),
        "video",
        1,
        model,
        "FS",
        "dfdm",
        "test",
        "derived",
        compression,
        cell["target"],
        cell["source"],
        pair.video_id if pair else "",
        cell["target"] or own,
        json.dumps({"tag": cell["tag"]}),
    )


ADAPTER = Adapter(
    "dfdm",
    "academic research only, by form; not redistributable",
    "https://github.com/shanface33/Deepfake_Model_Attribution",
    "Jia et al., ICIP 2022",
    read,
    OFFICIAL,
)
