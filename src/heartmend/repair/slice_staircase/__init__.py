"""Slice staircases of a label map that was drawn on thick slices: `detection` finds them, `interpolation` repairs them."""
