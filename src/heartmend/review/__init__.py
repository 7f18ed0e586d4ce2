"""The review of a run in a browser."""
