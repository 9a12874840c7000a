"""Changed and annotated copies of a clip; the clip is decoded in guarded processes."""
