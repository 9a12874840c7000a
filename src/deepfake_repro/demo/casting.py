"""Which clips the miniature corpora contain: who is shown, by which method, under which path.

Two rules hold everywhere. No person is in two splits, as target or as donor. Every fake has a real
clip of the same corpus, split, target and take, so that nothing but the manipulation differs.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..corpora.adapters import df40, fakeavceleb, ffpp, forgerynet

People = Mapping[str, Sequence[str]]
Sizes = Mapping[str, int]

SPLITS = ("train", "val", "test")
OFFICIAL_SPLITS = {
    "celebdf2": ("train", "test"),
    **dict.fromkeys(("df40", "wilddeepfake", "itw", "dfeval2024"), ("test",)),
}
DFDC_METHODS = tuple(f"dfdc_{number}" for number in range(1, 8))
WILD_METHODS = tuple(f"wild_{number}" for number in range(1, 5))
DFDC_FOLDERS = {"train": "train/dfdc_train_part_{part}", "val": "validation", "test": "test"}
UNKNOWN_CLIPS = 2
# FakeAVCeleb sorts files by race and gender; the synthetic people are not sorted by either.
FAKEAVCELEB_PEOPLE = "Synthetic/people"
FAKEAVCELEB_ROOT = "FakeAVCeleb_v1.2"  # doubled, as the download often unpacks
SUFFIX = {"wav2lip": "wavtolip", "faceswap-wav2lip": "wavtolip", "fsgan-wav2lip": "wavtolip"}


@dataclass(frozen=True)
class Clip:
    """One clip to render at ``path`` under the corpus root, a folder if ``kind`` is ``frames``.

    Clips with the same corpus, ``target`` and ``take`` share motion, background, duration and
    encoding. ``donor`` gives the face or drives the expression, and is None for reals.
    """

    corpus: str
    path: str
    kind: str
    split: str
    label: int
    method: str
    target: str
    take: int
    donor: str | None = None


@dataclass(frozen=True)
class Recording:
    """One real take of ``target`` to be planned; ``number`` counts within the corpus's split.

    Names of clips are derived from its ``repr``: renaming the class or a field renames clips.
    """

    corpus: str
    split: str
    number: int
    target: str
    others: tuple[str, ...]

    def donor(self, rank: int) -> str:
        """Return another person of the split; takes of one target begin with different donors."""
        return self.others[(self.number // (len(self.others) + 1) + rank) % len(self.others)]

    def real(self, path: str, kind: str = "video") -> Clip:
        """Return the real clip at ``path``."""
        return Clip(self.corpus, path, kind, self.split, 0, "real", self.target, self.number)

    def fake(self, path: str, method: str, donor: str, kind: str = "video") -> Clip:
        """Return a fake of this take at ``path``."""
        return Clip(self.corpus, path, kind, self.split, 1, method, self.target, self.number, donor)


def plan(people: People, sizes: Mapping[str, Sizes], seed: int) -> list[Clip]:
    """Plan all clips of the corpora in ``sizes``: per corpus ``{train, val, test}`` real takes.

    ``ffpp`` counts pairs of takes; ``df40`` also has ``per_method``. Fakes are added by each
    corpus's own rule. Raises ``ValueError`` for an unknown corpus, a person in two splits, or a
    size that the corpus cannot have.
    """
    cast = [person for split in people for person in people[split]]
    if len(set(cast)) != len(cast):
        raise ValueError(
            f"people: '{max(cast, key=cast.count)}' is named twice; a person belongs to one split"
        )
    clips: list[Clip] = []
    for corpus, size in sizes.items():
        if corpus not in PLANNERS:
            raise ValueError(
                f"unknown corpus '{corpus}' in the sizes; known: {', '.join(PLANNERS)}"
            )
        known = (*SPLITS, "per_method") if corpus == "df40" else SPLITS
        unknown = sorted(set(size) - set(known))
        if unknown:
            raise ValueError(f"{corpus}: unknown size '{unknown[0]}'; known: {', '.join(known)}")
        clips += PLANNERS[corpus](_recordings(corpus, people, size, seed), size, seed)
    return clips


def dfeval_name(number: int, unknown: bool = False) -> str:
    """Return a file name of 27 characters, as in Deepfake-Eval-2024.

    ``unknown`` is for the clips whose label nobody could verify.
    """
    return f"{_digest('dfeval', number, unknown)[:27]}.mp4"


def _recordings(corpus: str, people: People, size: Sizes, seed: int) -> list[Recording]:
    recordings = []
    for split in SPLITS:
        cast = people.get(split, ())
        count = size.get(split, 0) * (2 if corpus == "ffpp" else 1)
        if count and split not in OFFICIAL_SPLITS.get(corpus, SPLITS):
            raise ValueError(
                f"{corpus}: its official layout has no {split} split; set {split} to 0"
            )
        if count and len(cast) < 2:
            raise ValueError(
                f"people: split '{split}' needs two people or more, a target and a donor"
            )
        order = random.Random(f"{seed}:{corpus}:{split}").sample(list(cast), len(cast))
        for number in range(count):
            turn = number % len(order)
            others = (*order[turn + 1 :], *order[:turn])
            recordings.append(Recording(corpus, split, number, order[turn], others))
    return recordings


def _ffpp(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan pairs a, b: both reals, and ``a_b`` and ``b_a`` by each of the five methods.

    ``a_b`` is the video of a with the face of b.
    """
    numbers = random.Random(f"{seed}:ffpp").sample(range(1000), len(recordings))
    named = [(item, f"{number:03d}") for item, number in zip(recordings, numbers, strict=True)]
    for item, name in named:
        yield item.real(f"original_sequences/youtube/c23/videos/{name}.mp4")
    for first, second in zip(named[::2], named[1::2], strict=True):
        for (target, a), (donor, b) in ((first, second), (second, first)):
            for method, (folder, _) in ffpp.METHODS.items():
                path = f"manipulated_sequences/{folder}/c23/videos/{a}_{b}.mp4"
                yield target.fake(path, method, donor.target)


class Celebrity(NamedTuple):
    """A take of Celeb-DF: ``path`` is its real's, without suffix; ``number`` is in fakes' names.

    A YouTube real has no ``number``: Celeb-DF makes no fakes of those.
    """

    item: Recording
    path: str
    number: str


def _celebrities(recordings: Sequence[Recording]) -> Iterator[Celebrity]:
    """Take one real in four from YouTube, if there are enough people."""
    for item in recordings:
        if item.number % 4 == 3 and len(item.others) > 1:
            yield Celebrity(item, f"YouTube-real/{_number(item, 300):05d}", "")
        else:
            number = f"{item.number:04d}"
            yield Celebrity(item, f"Celeb-real/{_celebrity(item.target)}_{number}", number)


def _celebdf2(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan one fake per real; instead of a YouTube real, the real before it gets a second fake."""
    previous: Recording | None = None
    for item, path, number in _celebrities(recordings):
        yield item.real(f"{path}.mp4")
        base = item
        rank = 0
        if not number and previous is not None:
            base = previous
            rank = 1
        donor = base.donor(rank)
        name = f"{_celebrity(base.target)}_{_celebrity(donor)}_{base.number:04d}"
        yield base.fake(f"Celeb-synthesis/{name}.mp4", "deepfake", donor)
        previous = item


def _dfdc(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan one fake per real in the same folder, methods in turn; training has two parts."""
    for item in recordings:
        folder = DFDC_FOLDERS[item.split].format(part=item.number % 2)
        real = _letters("dfdc", seed, item.split, item.number, "real")
        fake = _letters("dfdc", seed, item.split, item.number, "fake")
        method = DFDC_METHODS[item.number % len(DFDC_METHODS)]
        yield item.real(f"{folder}/{real}.mp4")
        yield item.fake(f"{folder}/{fake}.mp4", method, item.donor(0))


def _fakeavceleb(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan two fakes per real, cycling over five methods, and one RealVideo-FakeAudio per split."""
    methods = itertools.cycle(method for method in fakeavceleb.METHODS if method != "real")
    identity = _identities(recordings, seed)
    for item in recordings:
        stem = f"{_number(item, 100_000):05d}"
        path = f"{FAKEAVCELEB_PEOPLE}/{identity[item.target]}/{stem}"
        yield item.real(f"{FAKEAVCELEB_ROOT}/RealVideo-RealAudio/{path}.mp4")
        if item.number == 0:
            yield item.real(f"{FAKEAVCELEB_ROOT}/RealVideo-FakeAudio/{path}_fake.mp4")
        for rank, method in enumerate(itertools.islice(methods, 2)):
            donor = item.donor(rank)
            audio = "FakeAudio" if "-" in method else "RealAudio"
            name = f"{path}_{rank}_{identity[donor]}_{SUFFIX.get(method, method)}.mp4"
            yield item.fake(f"{FAKEAVCELEB_ROOT}/FakeVideo-{audio}/{name}", method, donor)


def _identities(recordings: Sequence[Recording], seed: int) -> dict[str, str]:
    """Map each person to an identity that the adapter's own rule puts into the person's split."""
    numbers = random.Random(f"{seed}:fakeavceleb").sample(range(10_000), 10_000)
    names = (f"id{number:05d}" for number in numbers)
    split_of = {person: item.split for item in recordings for person in (item.target, *item.others)}
    return {
        person: next(name for name in names if fakeavceleb.split_of(name) == split)
        for person, split in split_of.items()
    }


def _forgerynet(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan two fakes per real, cycling over the methods; each occurs at least once in training."""
    for split, items in itertools.groupby(recordings, key=lambda item: item.split):
        reals = list(items)
        fakes = 2
        release = "Validation/video/val_video_release"
        if split != "test":
            release = "Training/video/train_video_release"
        if split == "train":
            fakes = max(2, -(-len(forgerynet.METHODS) // len(reals)))
        folders = itertools.cycle(forgerynet.METHODS.items())
        for item in reals:
            outer = _outer_folder(item, seed)
            yield item.real(f"{release}/{16 + item.number % 4}/{outer}/video.mp4")
            for rank, (number, method) in enumerate(itertools.islice(folders, fakes)):
                inner = _digest("inner", seed, item, rank)
                path = f"{release}/{number}/{outer}/{inner}/video.mp4"
                yield item.fake(path, method, item.donor(rank))


def _outer_folder(item: Recording, seed: int) -> str:
    """Return a hash folder that the adapter's own rule puts into the recording's split.

    The test set is official: there any folder will do.
    """
    candidates = (_digest("outer", seed, item, attempt) for attempt in itertools.count())
    return next(
        name
        for name in candidates
        if item.split == "test" or forgerynet.split_of(name) == item.split
    )


def _df40(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan Celeb-DF's test reals as frames, and ``per_method`` fakes of them by each method."""
    takes = list(_celebrities(recordings))
    count = size.get("per_method", 0)
    if count > len(takes):
        raise ValueError(
            f"df40: per_method {count} exceeds its {len(takes)} real takes; raise df40.test"
        )
    for item, path, _ in takes:
        folder, _, name = path.partition("/")
        yield item.real(f"Celeb-DF-v2/{folder}/frames/{name}", "frames")
    for rank, method in enumerate(df40.METHODS):
        folder = f"DF40/{'MRAA' if method == 'mraa' else method}/cdf/frames"
        for position in range(count):
            item, path, number = takes[(rank * count + position) % len(takes)]
            donor = item.donor(rank)
            if number:
                name = f"{_celebrity(item.target)}_{_celebrity(donor)}_{number}"
            else:
                name = path.partition("/")[2]
            yield item.fake(f"{folder}/{name}", method, donor, "frames")


def _wilddeepfake(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan as many fake as real sequences over the four folders, up to three per archive."""
    for item in recordings:
        fold = ("train", "test")[item.number % 2]
        shard = item.number // 2 // 3 + 1
        sequence = _number(item, 1000)
        method = WILD_METHODS[item.number % len(WILD_METHODS)]
        yield item.real(f"real_{fold}/{shard}/real/{sequence}", "frames")
        fake = f"fake_{fold}/{shard}/fake/{sequence}"
        yield item.fake(fake, method, item.donor(0), "frames")


def _itw(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan a private collection: file names say nothing, the manifest does."""
    for item in recordings:
        real = _letters("itw", seed, item.number, "real")
        fake = _letters("itw", seed, item.number, "fake")
        method = WILD_METHODS[item.number % len(WILD_METHODS)]
        yield item.real(f"clips/{real}.mp4")
        yield item.fake(f"clips/{fake}.mp4", method, item.donor(0))


def _dfeval2024(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Plan one fake per real, and a few clips with ground truth Unknown, rendered as reals."""
    for item in recordings:
        method = WILD_METHODS[item.number % len(WILD_METHODS)]
        yield item.real(f"video-data/{dfeval_name(2 * item.number)}")
        yield item.fake(f"video-data/{dfeval_name(2 * item.number + 1)}", method, item.donor(0))
    for number in range(UNKNOWN_CLIPS if recordings else 0):
        extra = replace(recordings[number % len(recordings)], number=len(recordings) + number)
        yield extra.real(f"video-data/{dfeval_name(number, unknown=True)}")


def _celebrity(person: str) -> str:
    return f"id{int(person.lstrip('P'))}"


def _digest(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def _letters(*parts: object) -> str:
    """Return ten lower-case letters, as DFDC names its files."""
    return "".join(chr(ord("a") + byte % 26) for byte in bytes.fromhex(_digest(*parts))[:10])


def _number(item: Recording, below: int) -> int:
    """Return a number below ``below`` that differs from take to take of a corpus.

    37 and ``below`` have no common divisor, so numbers spread over the whole range.
    """
    return 37 * (len(SPLITS) * item.number + SPLITS.index(item.split) + 1) % below


PLANNERS = {
    "ffpp": _ffpp,
    "celebdf2": _celebdf2,
    "dfdc": _dfdc,
    "fakeavceleb": _fakeavceleb,
    "forgerynet": _forgerynet,
    "df40": _df40,
    "wilddeepfake": _wilddeepfake,
    "itw": _itw,
    "dfeval2024": _dfeval2024,
}
