"""Crops of a profile's videos by a detector's own recipe, where the profile's store has others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..crops.preprocess import detector_factory, make_crops, workers
from ..project.params import CropOptions
from ..project.paths import Paths, corpus_roots
from ..project.provenance import fingerprint
from .manifest import DetectorManifest


def recrop(
    manifest: DetectorManifest, options: CropOptions, index: pd.DataFrame, paths: Paths
) -> Path:
    """Crop the test and validation videos of ``index`` by the manifest's recipe.

    ``options``: the profile's, for all that the recipe leaves open. Returns the store, in the
    scratch folder; finished parts are kept, so that a rerun resumes. Raises ``ValueError`` if the
    manifest has no recipe or the folder of a corpus is not here, and as ``make_crops``.
    """
    if manifest.crop is None:
        raise ValueError(f"{manifest.name}: has no 'crop' in its manifest to crop by")
    wanted = manifest.crop.options(options)
    used = index[index["split"].isin(["test", "val"])]
    roots = corpus_roots(paths.roots)
    for corpus in sorted(used["dataset"].unique()):
        if corpus not in roots or not roots[corpus].is_dir():
            raise ValueError(
                f"{manifest.name}: the videos of {corpus} are not here "
                f"({roots.get(corpus, f'no folder in {paths.roots.name}')}): get them to crop anew"
            )
    store = paths.scratch(f"recrop-{paths.profile}-{fingerprint(wanted)}")
    make_crops(used, roots, store, detector_factory(wanted), wanted, workers())
    return store
