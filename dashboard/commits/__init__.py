"""The three views of the page of commits."""
