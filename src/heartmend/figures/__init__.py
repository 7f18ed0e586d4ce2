"""Figures for people, drawn with matplotlib."""
