"""FSFM's pre-training on real faces: masked image modelling and instance discrimination (Section 3.2)."""
