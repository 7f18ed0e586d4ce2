"""Stages in order: run and embed, and the settings that they share."""
