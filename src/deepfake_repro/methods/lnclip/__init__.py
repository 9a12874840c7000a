"""LNCLIP-DF, the second paper: LayerNorm tuning, unit hypersphere, latent augmentation."""
