"""Tasks around the pipeline: assets, weights, cost plans, studies, rehearsals, stage code."""
