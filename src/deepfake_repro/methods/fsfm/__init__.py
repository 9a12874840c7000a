"""methods/fsfm."""
