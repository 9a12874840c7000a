"""Detectors of any origin: manifests, loaders of released weights, evaluation beside our rows."""
