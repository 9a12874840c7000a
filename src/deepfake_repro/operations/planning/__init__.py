"""What a profile will take before it runs: hours, disk, memory."""
