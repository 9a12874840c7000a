"""What all methods share: labels, transforms, loaders, detector, losses, checkpoints, loop."""
