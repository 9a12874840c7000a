"""Faces -> tracks: follow people through a video by the overlap of their boxes and their colours.

The paper scores a video by the mean over all its faces and needs no tracks (Section 4.3). The
report on one video shows a curve per track, to tell several people apart. Boxes of consecutive
sampled frames overlap as long as people move by less than about one face width per second; a cut
starts new tracks. So does another person at the same place, whose crop has other colours. In black
and white only the boxes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .detection import intersection_over_union

OVERLAP = 0.2
"""Minimum IoU of the boxes of one person in consecutive sampled frames."""
GAP = 2
"""Number of sampled frames that a track survives without its face."""
ANOTHER = 0.25
"""Share of a face whose colours differ between two people. On synthetic people 93 % of the pairs of
two are above, and all pairs of one person within a second below 0.19."""
COLOUR_BINS = 32


def appearance(crop: np.ndarray) -> np.ndarray:
    """Return how often each colour occurs in the face of a crop [S, S, 3]: [bins * bins], sum 1.

    Only hue and saturation count (a* and b* of CIELAB), which turning the head changes little.
    """
    border = int(len(crop) * (1 - 1 / 1.3) / 2)
    face = np.ascontiguousarray(crop[border : len(crop) - border, border : crop.shape[1] - border])
    lab = cv2.cvtColor(face, cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [1, 2], None, [COLOUR_BINS] * 2, [96, 160, 96, 160]).ravel()
    return counts / max(counts.sum(), 1)


class _Seen(NamedTuple):
    """The last face of a track."""

    frame: int
    box: np.ndarray
    look: np.ndarray | None

    def is_another(self, look: np.ndarray | None) -> bool:
        """Tell whether a face at this place looks like another person."""
        if self.look is None or look is None:
            return False
        return float(np.abs(self.look - look).sum()) / 2 > ANOTHER


class Tracker:
    """Assign track numbers to the faces of a video, one sampled frame at a time.

    Keeps only the last face of each active track. ``count`` is the number of tracks so far.
    """

    def __init__(self, overlap: float = OVERLAP, gap: int = GAP) -> None:
        self.overlap = overlap
        self.gap = gap
        self.count = 0
        self._last_seen: dict[int, _Seen] = {}  # track -> its last face

    def add(
        self, frame: int, boxes: np.ndarray, looks: Sequence[np.ndarray] | None = None
    ) -> list[int]:
        """Return the track of each face of sampled frame ``frame``; ``boxes`` [N, 4] in pixels.

        ``looks``: ``appearance`` of each face; without them only the boxes count. Frame numbers
        must rise. Pairs of an active track and a face are matched by falling overlap, each at most
        once; every face left over starts a new track.
        """
        self._last_seen = {
            track: seen
            for track, seen in self._last_seen.items()
            if frame - seen.frame <= self.gap + 1
        }
        tracks = self._match(boxes, looks)
        for face, box in enumerate(boxes):
            if face not in tracks:
                tracks[face] = self.count
                self.count += 1
            look = None if looks is None else looks[face]
            self._last_seen[tracks[face]] = _Seen(frame, box, look)
        return [tracks[face] for face in range(len(boxes))]

    def _match(self, boxes: np.ndarray, looks: Sequence[np.ndarray] | None) -> dict[int, int]:
        """Match faces to active tracks, largest overlap first: face -> track."""
        pairs = [
            (overlap, track, face)
            for track, seen in self._last_seen.items()
            for face, overlap in enumerate(intersection_over_union(seen.box, boxes))
            if overlap >= self.overlap and not seen.is_another(looks[face] if looks else None)
        ]
        tracks: dict[int, int] = {}
        for _, track, face in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
            if face not in tracks and track not in tracks.values():
                tracks[face] = track
        return tracks
