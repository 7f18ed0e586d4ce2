"""How certain a repaired label map is, without a truth: `evidence` measures what label, shape and CT state about each
voxel, `estimator` makes a probability of an error of it, `structures` an expected Dice and surface error, and `case`
does so for a case.
"""
