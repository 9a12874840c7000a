"""Where a file is from by its own account, and what a score's publication should cite."""
