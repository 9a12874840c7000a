"""The SBI baseline: self-blended images, made of real faces alone."""
