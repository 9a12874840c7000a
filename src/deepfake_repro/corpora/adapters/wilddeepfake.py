"""WildDeepfake (Zi et al. 2020): face sequences in tar files, all for testing (Section 4.2)."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..files import IMAGE_SUFFIXES, Tree, folders, locate, sequences_below
from ..schema import Adapter, IndexReport, Official, Video

FOLDER = re.compile(r"(real|fake)[ _-]+(train|test)", re.IGNORECASE)
ARCHIVES = (".tar.gz", ".tgz", ".tar")
# Sequences of 707 videos: train 3,409 + 3,099, test 396 + 410.
OFFICIAL: Official = {"test": (3_805, 3_509)}
EVERY = 10  # "we sampled every 10th face": the crop step takes frames[::EVERY]


class Sequence(NamedTuple):
    """One face sequence: its index path and ``parts``, which should be shard, side and number.

    ``side`` is real or fake, ``fold`` train or test, both by the official folder.
    """

    path: str
    parts: tuple[str, ...]
    side: str
    fold: str


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index the sequences of the four folders, extracted or in archives, plain tar or compressed.

    Labels come from the folder (``real_train``, ``fake test`` …) and must agree with the inner
    ``real|fake``. A sequence in an archive has the path ``real_train/1.tar.gz!1/real/131``.
    """
    tree = locate(
        "wilddeepfake",
        root,
        lambda folder: any(_official_folders(folder)),
        "real_train/, fake_test/ …",
    )
    videos = [
        _video(sequence)
        for folder, side, fold in _official_folders(tree.base)
        for sequence in _sequences(tree, folder, side, fold)
    ]
    return videos, IndexReport("wilddeepfake", len(videos))


def _official_folders(base: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield (folder, real or fake, train or test) of the official folders."""
    for folder in folders(base):
        match = FOLDER.fullmatch(folder.name)
        if match:
            yield folder, match[1].lower(), match[2].lower()


def _sequences(tree: Tree, folder: Path, side: str, fold: str) -> Iterator[Sequence]:
    """Yield every sequence of one official folder."""
    for path in sequences_below(folder):
        # The last three levels count: an archive may be unpacked into a folder of its own
        # (1/1/real/131).
        yield Sequence(tree.path(path), path.relative_to(folder).parts[-3:], side, fold)
    for archive in sorted(folder.iterdir()):
        if _is_archive(archive):
            for inner in _members(archive):
                yield Sequence(f"{tree.path(archive)}!{inner}", inner.parts, side, fold)


def _is_archive(path: Path) -> bool:
    return (
        path.name.lower().endswith(ARCHIVES)
        and not path.name.startswith(".")
        and path.is_file()
        and path.stat().st_size > 0
    )


def _members(archive: Path) -> list[PurePosixPath]:
    """List the folders of an archive that contain images, without opening the images."""
    where = f"wilddeepfake: '{archive.name}' in '{archive.parent.name}'"
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            files = [
                PurePosixPath(member.name) for member in tar if member.isfile() and member.size
            ]
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise ValueError(f"{where} is not a readable tar ({reason}); download it again") from error
    for file in files:
        if file.is_absolute() or ".." in file.parts:
            raise ValueError(
                f"{where} contains '{file}', which leads out of the archive; download it again"
            )
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return sorted({file.parent for file in images if not file.name.startswith(".")})


def _video(sequence: Sequence) -> Video:
    path, parts, side, fold = sequence
    if len(parts) != 3 or parts[1].lower() != side:
        raise ValueError(
            f"wilddeepfake: '{path}': expected '<shard>/{side}/<sequence>' in '{side}_{fold}'"
        )
    shard, _, number = parts
    # Shard numbers repeat over the four folders, sequence numbers over shards.
    group = f"{side}_{fold}/{shard}"
    real = side == "real"
    return Video(
        video_id=f"wilddeepfake/{group}/{number}",
        path=path,
        kind="frames",
        label=int(side == "fake"),
        manipulation="real" if real else "unknown",
        category="REAL" if real else "UNK",
        dataset="wilddeepfake",
        split="test",
        split_source="paper-rule",
        group=group,
        attrs=json.dumps({"every": EVERY, "fold": fold}, sort_keys=True),
    )


ADAPTER = Adapter(
    name="wilddeepfake",
    licence="signed agreement, research only; not redistributable",
    access_url="https://github.com/deepfakeinthewild/deepfake-in-the-wild",
    citation="Zi et al., ACM MM 2020",
    read=read,
    official=OFFICIAL,
)
