"""The SBI baseline: self-blended images, made from real faces only."""
