"""FaceForensics++ (Rössler et al. 2019): five methods at one compression, official splits of pairs."""

from __future__ import annotations

from pathlib import Path

from .files import Tree, clips_in, descend, locate, names, need, read_json
from .schema import Adapter, IndexReport, Video

METHODS = {"deepfakes": ("Deepfakes", "FS"), "face2face": ("Face2Face", "RE"), "faceswap": ("FaceSwap", "FS"),
           "neuraltextures": ("NeuralTextures", "RE"), "faceshifter": ("FaceShifter", "FS")}
# The download script says raw, the extraction script and some copies say c0.
COMPRESSIONS = {"raw": ("raw", "c0"), "c23": ("c23",), "c40": ("c40",)}


def read(root: Path, compression: str = "c23", splits: Path | None = None) -> tuple[list[Video], IndexReport]:
    """Reals and both directions of each pair; a split list ``[a, b]`` means a, b, ``a_b`` and ``b_a``.

    The lists ``train|val|test.json`` are read from ``splits`` if given (a clone of the authors' repository),
    else from ``splits/`` or ``dataset/splits/`` in the root.
    """
    if compression not in COMPRESSIONS:
        raise ValueError(f"ffpp: compression '{compression}' is not one of {', '.join(COMPRESSIONS)}")
    tree = locate("ffpp", root, lambda folder: descend(folder, "original_sequences"), "original_sequences/")
    split_of = _split_of(tree.base, splits)
    reals = _folder(tree.base, compression, "original_sequences", "youtube")
    real_ids = {place.stem: tree.video_id(place) for place, _ in clips_in(reals)}
    videos, unlisted, missing = [], [], []
    for method, (name, category) in {"real": ("youtube", "REAL"), **METHODS}.items():
        parent = "original_sequences" if method == "real" else "manipulated_sequences"
        clips = {place.stem: (place, kind)
                 for place, kind in clips_in(_folder(tree.base, compression, parent, name))}
        listed = {stem for stem in split_of if ("_" in stem) == (method != "real")}
        missing += [f"{parent}/{name}/{stem}" for stem in listed - clips.keys()]
        unlisted += [tree.path(clips[stem][0]) for stem in clips.keys() - listed]
        videos += [_video(tree, *clips[stem], method, category, *split_of[stem], compression, real_ids)
                   for stem in listed & clips.keys()]
    return videos, IndexReport("ffpp", len(videos), names(missing), names(unlisted))


def _folder(base: Path, compression: str, *parts: str) -> Path | None:
    found = (descend(base, *parts, level) for level in COMPRESSIONS[compression])
    return next((folder for folder in found if folder), None)


def _split_of(base: Path, splits: Path | None) -> dict[str, tuple[str, str]]:
    """Stem of every listed real and fake -> (split, group): a pair and all made from it belong together."""
    folder = Path(splits) if splits else descend(base, "splits") or descend(base, "dataset", "splits")
    found: dict[str, tuple[str, str]] = {}
    for split in ("train", "val", "test"):
        path = need(folder and folder / f"{split}.json", "ffpp", f"splits/{split}.json", "the splits")
        for pair in read_json(path):
            if len(pair) != 2:
                raise ValueError(f"ffpp: 'splits/{split}.json' holds {pair}; expected pairs such as [\"071\", \"054\"]")
            first, second = pair
            for stem in (first, second, f"{first}_{second}", f"{second}_{first}"):
                if found.setdefault(stem, (split, f"{first}_{second}")) != (split, f"{first}_{second}"):
                    raise ValueError(f"ffpp: sequence {stem} is in two pairs, the second in {split}.json; "
                                     "restore the official splits")
    return found


def _video(tree: Tree, place: Path, kind: str, method: str, category: str, split: str, group: str,
           compression: str, real_ids: dict[str, str]) -> Video:
    target, _, source = place.stem.partition("_")
    return Video(tree.video_id(place), tree.path(place), kind, int(method != "real"), method, category, "ffpp",
                 split, "official", compression, target, source, real_ids.get(target, "") if source else "", group)


ADAPTER = Adapter("ffpp", "FaceForensics Terms of Use, non-commercial research; not redistributable",
                  "https://github.com/ondyari/FaceForensics", "Rössler et al., ICCV 2019", read)
