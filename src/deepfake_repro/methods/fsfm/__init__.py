"""FSFM's pre-training: masked images of real faces and instance discrimination (Section 3.2)."""
