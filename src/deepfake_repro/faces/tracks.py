"""Faces -> tracks: follow people through a video by the overlap of their boxes alone.

The paper scores a video by the mean over all its faces and needs no tracks (Section 4.3). The
report on one video shows a curve per track, to tell several people apart. Boxes of consecutive
sampled frames overlap as long as people move by less than about one face width per second; a cut
starts new tracks.
"""

from __future__ import annotations

import numpy as np

from .detection import intersection_over_union

OVERLAP = 0.2
"""Minimum IoU of the boxes of one person in consecutive sampled frames."""
GAP = 2
"""Number of sampled frames that a track survives without its face."""


class Tracker:
    """Assign track numbers to the faces of a video, one sampled frame at a time.

    Keeps only the last box of each active track. ``count`` is the number of tracks so far.
    """

    def __init__(self, overlap: float = OVERLAP, gap: int = GAP) -> None:
        self.overlap = overlap
        self.gap = gap
        self.count = 0
        self._last_seen: dict[int, tuple[int, np.ndarray]] = {}  # track -> (frame, box)

    def add(self, frame: int, boxes: np.ndarray) -> list[int]:
        """Return the track of each face of sampled frame ``frame``; ``boxes`` [N, 4] in pixels.

        Frame numbers must rise. Pairs of an active track and a face are matched by falling overlap,
        each at most once; every face left over starts a new track.
        """
        self._last_seen = {
            track: (last_frame, box)
            for track, (last_frame, box) in self._last_seen.items()
            if frame - last_frame <= self.gap + 1
        }
        tracks = self._match(boxes)
        for face, box in enumerate(boxes):
            if face not in tracks:
                tracks[face] = self.count
                self.count += 1
            self._last_seen[tracks[face]] = (frame, box)
        return [tracks[face] for face in range(len(boxes))]

    def _match(self, boxes: np.ndarray) -> dict[int, int]:
        """Match faces to active tracks, largest overlap first: face -> track."""
        pairs = [
            (overlap, track, face)
            for track, (_, box) in self._last_seen.items()
            for face, overlap in enumerate(intersection_over_union(box, boxes))
            if overlap >= self.overlap
        ]
        tracks: dict[int, int] = {}
        for _, track, face in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
            if face not in tracks and track not in tracks.values():
                tracks[face] = track
        return tracks
