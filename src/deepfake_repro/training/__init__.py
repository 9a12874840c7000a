"""What all methods share: label schemes, transforms, loaders, detector, losses, weights, devices, the loop."""
