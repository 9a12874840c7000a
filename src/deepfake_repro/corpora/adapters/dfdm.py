"""DFDM (Jia et al. 2022): five auto-encoders at three compressions; the reals are Celeb-DF's.

Documented by third parties: the folders ``DFDM_crf{0,10,23}``, the names
``<target>_<source>_<recording>_<tag>``, and that the release has no reals. Not documented: whether
each model has a folder inside, and which compression LNCLIP-DF scores. The model is that of the
folder, else of the tag, else ``unknown``; the report counts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ..checks import remark
from ..files import Tree, clips_in, descend, folders, locate, videos_below
from ..schema import Adapter, IndexReport, Official, Video

# From third parties: one compression of three (6,450 fakes in all), and Celeb-DF's 590 Celeb-real.
# Without the 430 of ``ORIGINAL``.
OFFICIAL: Official = {"test": (590, 1720)}
ORIGINAL = "original"
"""Tag of videos that may be real or by the Faceswap baseline: the authors' statements differ."""
COMPRESSIONS = ("crf0", "crf10", "crf23")
MODELS = ("faceswap", "lightweight", "iae", "dfaker", "dfl-h128")
TAGS = {
    **{model: model for model in MODELS},
    "dfl": "dfl-h128",
    "dflh": "dfl-h128",
    ORIGINAL: "faceswap",
}
REALS = (("Celeb-real",), ("Celeb-DF-v2", "Celeb-real"))
NAME = re.compile(r"(?P<target>id\d+)_(?P<source>id\d+)_(?P<recording>\d+)_(?P<tag>.+)")


def read(
    root: Path, compression: str = "crf23", original: str = "drop"
) -> tuple[list[Video], IndexReport]:
    """Index the fakes of one compression and all reals beside them.

    ``original`` decides whether videos with that tag are left out (``drop``), as in LNCLIP-DF's
    list, or taken for fakes of the Faceswap baseline (``fake``). The reals are ``Celeb-real/`` or
    ``Celeb-DF-v2/Celeb-real/`` in the root.
    """
    if compression not in COMPRESSIONS:
        raise ValueError(
            f"dfdm: compression '{compression}' is not one of {', '.join(COMPRESSIONS)}"
        )
    if original not in ("drop", "fake"):
        raise ValueError(f"dfdm: original '{original}' is not one of drop, fake")
    level = f"DFDM_{compression}"
    tree = locate("dfdm", root, lambda folder: descend(folder, level), f"{level}/")
    folder = _real_folder(tree)
    beside = Tree("dfdm", root, folder.parent)
    reals = {path.stem.lower(): _real(beside, path, kind) for path, kind in clips_in(folder)}
    paths = videos_below(descend(tree.base, level))
    dropped = [path for path in paths if original == "drop" and _tag(path) == ORIGINAL]
    fakes = [_fake(tree, path, compression, reals) for path in paths if path not in set(dropped)]
    notes = remark(
        f"videos tagged {ORIGINAL} left out: they may be real", (path.name for path in dropped)
    )
    notes += remark(
        "fakes whose folder and tag name none of the five models: method unknown",
        (video.path for video in fakes if video.manipulation == "unknown"),
    )
    notes += remark(
        "names not like id28_id20_0008_4dfaker: pairs left empty",
        (video.path for video in fakes if not video.target_id),
    )
    others = {f"dfdm_{other}" for other in COMPRESSIONS if other != compression}
    notes += remark(
        "other compressions left out",
        (folder.name for folder in folders(tree.base) if folder.name.lower() in others),
    )
    return [*reals.values(), *fakes], IndexReport("dfdm", len(reals) + len(fakes), notes=notes)


def _tag(path: Path) -> str:
    """Return the tag of a name without its number: ``dfaker`` of ``id28_id20_0008_4dfaker``."""
    return path.stem.lower().rpartition("_")[2].lstrip("0123456789")


def _real_folder(tree: Tree) -> Path:
    for base in (tree.base, tree.root):
        for parts in REALS:
            folder = descend(base, *parts)
            if folder:
                return folder
    raise FileNotFoundError(
        "dfdm: 'Celeb-real/' is missing; DFDM ships no reals, its fakes are scored against "
        "those of Celeb-DF v2: put or link them beside the fakes"
    )


def _real(tree: Tree, path: Path, kind: str) -> Video:
    target = path.stem.lower().partition("_")[0]
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind=kind,
        label=0,
        manipulation="real",
        category="REAL",
        dataset="dfdm",
        split="test",
        split_source="derived",
        target_id=target,
        group=target,
    )


def _fake(tree: Tree, path: Path, compression: str, reals: Mapping[str, Video]) -> Video:
    video_id = tree.video_id(path)
    inner_folders = {part.lower() for part in path.relative_to(tree.base).parts[1:-1]}
    by_tag = TAGS.get(_tag(path), "unknown")
    model = next((name for name in MODELS if name in inner_folders), by_tag)
    match = NAME.fullmatch(path.stem.lower())
    parts = match.groupdict() if match else dict.fromkeys(NAME.groupindex, "")
    pair = reals.get(f"{parts['target']}_{parts['recording']}")
    return Video(
        video_id=video_id,
        path=tree.path(path),
        kind="video",
        label=1,
        manipulation=model,
        category="FS",
        dataset="dfdm",
        split="test",
        split_source="derived",
        compression=compression,
        target_id=parts["target"],
        source_id=parts["source"],
        pair_key=pair.video_id if pair else "",
        group=parts["target"] or video_id,
        attrs=json.dumps({"tag": parts["tag"]}),
    )


ADAPTER = Adapter(
    name="dfdm",
    licence="academic research only, by form; not redistributable",
    access_url="https://github.com/shanface33/Deepfake_Model_Attribution",
    citation="Jia et al., ICIP 2022",
    read=read,
    official=OFFICIAL,
)
