"""What a person runs around the pipeline: assets, weights, plan of costs, studies, rehearsal."""
