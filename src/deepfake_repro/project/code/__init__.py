"""What a stage computes with: definitions by name, and hashes that prose does not change."""
