"""Repair of label maps: a label map in, a repaired label map and a list of changes out.

One file or folder for each method, in the order in which a run uses them:

- `slice_staircase`: label maps that were drawn on thick slices are interpolated between these slices.
- `rules`: rules of anatomy: missing slices, speckle, swapped labels, interrupted vessels, holes, surplus components.
- `shape_label_fusion`: the fitted shape of a structure is registered to its label and weighted against it.
- `voxel_classifier`: structures without a common shape are repaired by a small network.
- `acceptance`: a repaired mask that differs too much from its original is rejected.
- `vessels`: thin vessels are repaired as trees of tubes.
- `fusion`: the distance maps of all structures are fused into one label map.
- `uncertainty`: the errors that a repaired map still has are estimated.
- `image_edges`: boundaries are moved to the edges of the CT image.

`changes` and `change_log` record what was changed; `case_volume` is the region of interest that the methods work on.
"""
