"""What everything stands on: parameters, paths, words, provenance, progress, whole files, notebooks as stages."""
