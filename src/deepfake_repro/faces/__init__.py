"""Faces: detection, dense landmarks, regions and hulls made of them, tracks from frame to frame."""
