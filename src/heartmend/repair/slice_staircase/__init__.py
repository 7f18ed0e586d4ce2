"""Slice staircases of label maps that were drawn on thick slices: `detection` and repair by `interpolation`."""
