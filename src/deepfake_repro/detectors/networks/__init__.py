"""Released checkpoints -> our networks: names translated, class real first, all else refused."""
