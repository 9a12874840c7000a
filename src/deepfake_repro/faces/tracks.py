"""Faces -> tracks: who is who in a video, by overlap of boxes alone.

The paper scores a video by the mean over all its faces and needs no tracks (Section 4.3). A reader
of one video with several people does: each track gets its own curve. Boxes overlap from one sampled
frame to the next as long as people do not move by more than about a face a second; a cut begins new
tracks.
"""

from __future__ import annotations

import numpy as np

from .detection import intersection_over_union

OVERLAP = 0.2
"""Least IoU of the boxes of one person in neighbouring sampled frames."""
GAP = 2
"""Sampled frames for which a face may be lost and still go on as the same track."""


class Tracker:
    """Numbers the faces of a video, sampled frame by sampled frame; holds the last box of each living track only."""

    def __init__(self, overlap: float = OVERLAP, gap: int = GAP) -> None:
        self.overlap, self.gap, self.count = overlap, gap, 0
        self._last: dict[
            int, tuple[int, np.ndarray]
        ] = {}  # track -> (frame, box) where it was last seen

    def add(self, frame: int, boxes: np.ndarray) -> list[int]:
        """Track of each face of sampled frame ``frame`` (rising numbers), ``boxes`` [N, 4] in pixels.

        Pairs of a living track and a face are joined by falling overlap, each at most once; what is
        left over begins a track of its own.
        """
        self._last = {
            track: seen for track, seen in self._last.items() if frame - seen[0] <= self.gap + 1
        }
        found = self._joined(boxes)
        for face in range(len(boxes)):
            if face not in found:
                found[face], self.count = self.count, self.count + 1
            self._last[found[face]] = (frame, boxes[face])
        return [found[face] for face in range(len(boxes))]

    def _joined(self, boxes: np.ndarray) -> dict[int, int]:
        """Face -> track, the greatest overlaps first."""
        pairs = [
            (overlap, track, face)
            for track, (_, box) in self._last.items()
            for face, overlap in enumerate(intersection_over_union(box, boxes))
            if overlap >= self.overlap
        ]
        found: dict[int, int] = {}
        for _, track, face in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
            if face not in found and track not in found.values():
                found[face] = track
        return found
