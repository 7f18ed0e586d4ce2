"""Measures of label maps: from two masks and a voxel spacing, and for whole folders."""
