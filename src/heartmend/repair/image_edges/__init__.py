"""Boundaries moved to the edges of the CT."""
