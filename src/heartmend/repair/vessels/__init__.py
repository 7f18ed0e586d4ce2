"""Thin vessels, repaired as trees of tubes."""
