"""Faults that a label map shows by itself, before any shape is fitted: what they are, and the map without them."""

from heartmend.faults.stairs import Stairs, find_stairs, without_stairs

__all__ = ["Stairs", "find_stairs", "without_stairs"]
