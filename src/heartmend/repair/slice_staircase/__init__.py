"""Slice staircases of label maps from thick slices or coarse grids: `detection`, and `repair` by interpolation."""
