"""Corrections by hand: brush, eraser, growth to an edge of the CT, interpolation between slices, and bridges.

Pure functions of a label map, a CT and what a person drew, in mm.
"""
