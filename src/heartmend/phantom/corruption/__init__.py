"""Corruption of phantom label maps: errors of automatic and quickly drawn labels, with one function for each kind.

A corruption takes the label map, the spacing and a random generator, and returns a new map; its strength is an
argument.
"""
