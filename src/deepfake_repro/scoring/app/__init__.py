"""The upload door: score a video that somebody uploads in Jupyter or in an application."""
