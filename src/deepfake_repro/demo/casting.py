"""Which clips the miniature corpora hold: who is shown, what is done to them, and the official place of each.

Two rules hold everywhere: no person is in two splits, as target or as donor, and every fake has a
real clip of the same corpus, split, target and take, so that nothing but the manipulation differs.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

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
# FakeAVCeleb files by race and gender; the synthetic people are not sorted by either.
FAKEAVCELEB_PEOPLE = "Synthetic/people"
FAKEAVCELEB_ROOT = "FakeAVCeleb_v1.2"  # doubled, as the download often unpacks
SUFFIX = {"wav2lip": "wavtolip", "faceswap-wav2lip": "wavtolip", "fsgan-wav2lip": "wavtolip"}


@dataclass(frozen=True)
class Clip:
    """One clip to render: ``path`` is its official place under the corpus root (a folder for ``frames``).

    Clips with the same corpus, ``target`` and ``take`` share motion, background, duration and
    encoding; ``donor`` gives the face or drives the expression, and is None for reals.
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
    """One real take of ``target`` to be planned; ``number`` counts over the corpus's split."""

    corpus: str
    split: str
    number: int
    target: str
    others: tuple[str, ...]

    def donor(self, rank: int) -> str:
        """Another person of the split; takes of one target begin with different donors."""
        return self.others[(self.number // (len(self.others) + 1) + rank) % len(self.others)]

    def real(self, path: str, kind: str = "video") -> Clip:
        """The real clip at ``path``."""
        return Clip(self.corpus, path, kind, self.split, 0, "real", self.target, self.number)

    def fake(self, path: str, method: str, donor: str, kind: str = "video") -> Clip:
        """A fake of this take at ``path``."""
        return Clip(self.corpus, path, kind, self.split, 1, method, self.target, self.number, donor)


def plan(people: People, sizes: Mapping[str, Sizes], seed: int) -> list[Clip]:
    """All clips of the miniature corpora in ``sizes``: per corpus ``{train, val, test}`` real takes.

    ``ffpp`` counts pairs of takes; ``df40`` has ``per_method`` besides. Fakes are added by each
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
        for key in sorted(set(size) - {*SPLITS, *(("per_method",) if corpus == "df40" else ())}):
            raise ValueError(f"{corpus}: unknown size '{key}'; known: {', '.join(SPLITS)}")
        clips += PLANNERS[corpus](_recordings(corpus, people, size, seed), size, seed)
    return clips


def dfeval_name(number: int, unknown: bool = False) -> str:
    """File name of 27 characters, as Deepfake-Eval-2024 has; ``unknown`` for the clips nobody could verify."""
    return f"{_digest('dfeval', number, unknown)[:27]}.mp4"


def _recordings(corpus: str, people: People, size: Sizes, seed: int) -> list[Recording]:
    found = []
    for split in SPLITS:
        cast, count = people.get(split, ()), size.get(split, 0) * (2 if corpus == "ffpp" else 1)
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
            place = number % len(order)
            found.append(
                Recording(
                    corpus, split, number, order[place], (*order[place + 1 :], *order[:place])
                )
            )
    return found


def _ffpp(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Pairs a, b: both reals, and ``a_b`` (a's video, b's face) and ``b_a`` by each of the five methods."""
    names = [
        f"{number:03d}"
        for number in random.Random(f"{seed}:ffpp").sample(range(1000), len(recordings))
    ]
    folder = "original_sequences/youtube/c23/videos"
    for real, name in zip(recordings, names, strict=True):
        yield real.real(f"{folder}/{name}.mp4")
    pairs = list(zip(recordings, names, strict=True))
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        for (target, a), (donor, b) in ((first, second), (second, first)):
            for method, (folder, _) in ffpp.METHODS.items():
                path = f"manipulated_sequences/{folder}/c23/videos/{a}_{b}.mp4"
                yield target.fake(path, method, donor.target)


def _celebrities(recordings: Sequence[Recording]) -> Iterator[tuple[Recording, str, str]]:
    """(recording, real's place without suffix, what its fakes' names begin and end with)."""
    for item in recordings:
        # One real in four comes from YouTube: Celeb-DF makes no fakes of those.
        if item.number % 4 == 3 and len(item.others) > 1:
            yield item, f"YouTube-real/{_number(item, 300):05d}", ""
        else:
            yield (
                item,
                f"Celeb-real/{_celebrity(item.target)}_{item.number:04d}",
                f"{item.number:04d}",
            )


def _celebdf2(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """One fake per real; in place of a YouTube real's fake, the real before it gets a second one."""
    previous: Recording | None = None
    for item, place, recording in _celebrities(recordings):
        yield item.real(f"{place}.mp4")
        base, rank = (item, 0) if recording else (previous, 1)
        name = f"{_celebrity(base.target)}_{_celebrity(base.donor(rank))}_{base.number:04d}"
        yield base.fake(f"Celeb-synthesis/{name}.mp4", "deepfake", base.donor(rank))
        previous = item


def _dfdc(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """One fake per real in the same folder, the methods in turn; training lies in two parts."""
    for item in recordings:
        folder = DFDC_FOLDERS[item.split].format(part=item.number % 2)
        names = [_letters("dfdc", seed, item.split, item.number, kind) for kind in ("real", "fake")]
        yield item.real(f"{folder}/{names[0]}.mp4")
        method = DFDC_METHODS[item.number % len(DFDC_METHODS)]
        yield item.fake(f"{folder}/{names[1]}.mp4", method, item.donor(0))


def _fakeavceleb(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Two fakes per real, cycling over the five methods, and one RealVideo-FakeAudio clip per split."""
    methods = itertools.cycle(method for method in fakeavceleb.METHODS if method != "real")
    identity = _identities(recordings, seed)
    for item in recordings:
        stem = f"{_number(item, 100_000):05d}"
        place = f"{FAKEAVCELEB_PEOPLE}/{identity[item.target]}/{stem}"
        yield item.real(f"{FAKEAVCELEB_ROOT}/RealVideo-RealAudio/{place}.mp4")
        if item.number == 0:
            yield item.real(f"{FAKEAVCELEB_ROOT}/RealVideo-FakeAudio/{place}_fake.mp4")
        for rank, method in enumerate(itertools.islice(methods, 2)):
            donor = item.donor(rank)
            audio = "FakeAudio" if "-" in method else "RealAudio"
            name = f"{place}_{rank}_{identity[donor]}_{SUFFIX.get(method, method)}.mp4"
            yield item.fake(f"{FAKEAVCELEB_ROOT}/FakeVideo-{audio}/{name}", method, donor)


def _identities(recordings: Sequence[Recording], seed: int) -> dict[str, str]:
    """Person -> an identity which the adapter's own rule puts into the person's split."""
    names = iter(
        [
            f"id{number:05d}"
            for number in random.Random(f"{seed}:fakeavceleb").sample(range(10_000), 10_000)
        ]
    )
    people = {person: item.split for item in recordings for person in (item.target, *item.others)}
    return {
        person: next(name for name in names if fakeavceleb.split_of(name) == split)
        for person, split in people.items()
    }


def _forgerynet(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Two fakes per real, cycling over the eight methods, each of which occurs in training at least once."""
    for split, items in itertools.groupby(recordings, key=lambda item: item.split):
        reals = list(items)
        release = (
            "Validation/video/val_video_release"
            if split == "test"
            else "Training/video/train_video_release"
        )
        folders = itertools.cycle(forgerynet.METHODS.items())
        fakes = max(2, -(-len(forgerynet.METHODS) // len(reals))) if split == "train" else 2
        for item in reals:
            outer = _outer_folder(item, seed)
            yield item.real(f"{release}/{16 + item.number % 4}/{outer}/video.mp4")
            for rank, (number, method) in enumerate(itertools.islice(folders, fakes)):
                inner = _digest("inner", seed, item, rank)
                path = f"{release}/{number}/{outer}/{inner}/video.mp4"
                yield item.fake(path, method, item.donor(rank))


def _outer_folder(item: Recording, seed: int) -> str:
    """A hash folder which the adapter's own rule puts into the recording's split (the test set is official)."""
    candidates = (_digest("outer", seed, item, attempt) for attempt in itertools.count())
    return next(
        name
        for name in candidates
        if item.split == "test" or forgerynet.split_of(name) == item.split
    )


def _df40(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """Celeb-DF's test reals as frames, and ``per_method`` fakes of them by each of the 21 methods."""
    takes, count = list(_celebrities(recordings)), size.get("per_method", 0)
    if count > len(takes):
        raise ValueError(
            f"df40: per_method {count} exceeds its {len(takes)} real takes; raise df40.test"
        )
    for item, place, _ in takes:
        folder, _, name = place.partition("/")
        yield item.real(f"Celeb-DF-v2/{folder}/frames/{name}", "frames")
    for rank, method in enumerate(df40.METHODS):
        folder = f"DF40/{'MRAA' if method == 'mraa' else method}/cdf/frames"
        for number in range(count):
            item, place, recording = takes[(rank * count + number) % len(takes)]
            name = f"{_celebrity(item.target)}_{_celebrity(item.donor(rank))}_{recording}"
            yield item.fake(
                f"{folder}/{name if recording else place.partition('/')[2]}",
                method,
                item.donor(rank),
                "frames",
            )


def _wilddeepfake(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """As many fake as real sequences over the four folders, up to three to an archive."""
    for item in recordings:
        fold, number = ("train", "test")[item.number % 2], item.number // 2
        place = f"{number // 3 + 1}/{{}}/{_number(item, 1000)}"
        yield item.real(f"real_{fold}/{place.format('real')}", "frames")
        method = WILD_METHODS[item.number % len(WILD_METHODS)]
        yield item.fake(f"fake_{fold}/{place.format('fake')}", method, item.donor(0), "frames")


def _itw(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """A private collection: file names say nothing, the manifest does."""
    for item in recordings:
        yield item.real(f"clips/{_letters('itw', seed, item.number, 'real')}.mp4")
        method = WILD_METHODS[item.number % len(WILD_METHODS)]
        yield item.fake(
            f"clips/{_letters('itw', seed, item.number, 'fake')}.mp4", method, item.donor(0)
        )


def _dfeval2024(recordings: Sequence[Recording], size: Sizes, seed: int) -> Iterator[Clip]:
    """One fake per real, and a few clips with ground truth Unknown (rendered as further reals)."""
    for item in recordings:
        yield item.real(f"video-data/{dfeval_name(2 * item.number)}")
        method = WILD_METHODS[item.number % len(WILD_METHODS)]
        yield item.fake(f"video-data/{dfeval_name(2 * item.number + 1)}", method, item.donor(0))
    for number in range(UNKNOWN_CLIPS if recordings else 0):
        extra = replace(recordings[number % len(recordings)], number=len(recordings) + number)
        yield extra.real(f"video-data/{dfeval_name(number, unknown=True)}")


def _celebrity(person: str) -> str:
    return f"id{int(person.lstrip('P'))}"


def _digest(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def _letters(*parts: object) -> str:
    """Ten lower-case letters, as DFDC names its files."""
    return "".join(chr(ord("a") + byte % 26) for byte in bytes.fromhex(_digest(*parts))[:10])


def _number(item: Recording, below: int) -> int:
    """A number that differs from take to take of a corpus, spread over ``range(below)`` (37 divides no ``below``)."""
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
