"""WildDeepfake (Zi et al. 2020): face sequences in tars, all of them used for testing (Section 4.2)."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..files import IMAGE_SUFFIXES, Tree, folders, locate, sequences_below
from ..schema import Adapter, IndexReport, Official, Video

FOLDER = re.compile(r"(real|fake)[ _-]+(train|test)", re.IGNORECASE)
ARCHIVES = (".tar.gz", ".tgz", ".tar")
OFFICIAL: Official = {
    "test": (3_805, 3_509)
}  # sequences of 707 videos; train 3,409 + 3,099, test 396 + 410
EVERY = 10  # "we sampled every 10th face": the crop step takes frames[::EVERY]


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Sequences of the four folders, in archives (plain tar whatever the name says) or extracted.

    Labels come from the folder (``real_train``, ``fake test`` …) and must agree with the inner
    ``real|fake``. A sequence in an archive has the path ``real_train/1.tar.gz!1/real/131``.
    """
    tree = locate(
        "wilddeepfake", root, lambda folder: any(_official(folder)), "real_train/, fake_test/ …"
    )
    videos = [
        _video(tree, path, folder, parts)
        for folder in _official(tree.base)
        for path, parts in _sequences(tree, folder)
    ]
    return videos, IndexReport("wilddeepfake", len(videos))


def _official(base: Path) -> Iterator[Path]:
    return (folder for folder in folders(base) if FOLDER.fullmatch(folder.name))


def _sequences(tree: Tree, folder: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(path, (shard, real|fake, sequence)) of every sequence of one of the four folders."""
    for place in sequences_below(folder):
        # An archive unpacked into a folder of its own (1/1/real/131) is told by its last three
        # levels.
        yield tree.path(place), place.relative_to(folder).parts[-3:]
    for archive in sorted(folder.iterdir()):
        if (
            archive.name.lower().endswith(ARCHIVES)
            and not archive.name.startswith(".")
            and archive.is_file()
            and archive.stat().st_size
        ):
            for inner in _members(archive):
                yield f"{tree.path(archive)}!{inner}", inner.parts


def _members(archive: Path) -> list[PurePosixPath]:
    """Folders of an archive that hold images, without opening the images."""
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            files = [
                PurePosixPath(member.name) for member in tar if member.isfile() and member.size
            ]
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise ValueError(
            f"wilddeepfake: '{archive.name}' in '{archive.parent.name}' is no readable tar ({reason}); "
            "download it again"
        ) from error
    for file in files:
        if file.is_absolute() or ".." in file.parts:
            raise ValueError(
                f"wilddeepfake: '{archive.name}' in '{archive.parent.name}' holds '{file}', which leads "
                "out of the archive; download it again"
            )
    return sorted(
        {
            file.parent
            for file in files
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        }
    )


def _video(tree: Tree, path: str, folder: Path, parts: tuple[str, ...]) -> Video:
    side, fold = (token.lower() for token in FOLDER.fullmatch(folder.name).groups())
    if len(parts) != 3 or parts[1].lower() != side:
        raise ValueError(
            f"wilddeepfake: '{path}': expected '<shard>/{side}/<sequence>' in '{folder.name}'"
        )
    # Shard numbers repeat over the four folders, sequence numbers over shards.
    group = f"{side}_{fold}/{parts[0]}"
    manipulation, category = ("real", "REAL") if side == "real" else ("unknown", "UNK")
    return Video(
        f"wilddeepfake/{group}/{parts[2]}",
        path,
        "frames",
        int(side == "fake"),
        manipulation,
        category,
        "wilddeepfake",
        "test",
        "paper-rule",
        group=group,
        attrs=json.dumps({"every": EVERY, "fold": fold}, sort_keys=True),
    )


ADAPTER = Adapter(
    "wilddeepfake",
    "signed agreement, research only; not redistributable",
    "https://github.com/deepfakeinthewild/deepfake-in-the-wild",
    "Zi et al., ACM MM 2020",
    read,
    OFFICIAL,
)
