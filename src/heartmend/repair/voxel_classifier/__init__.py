"""Repair of structures without a common shape by a small network that classifies each voxel.

`training` trains a classifier from corrupted copies of the labels (`label_corruption`), `cohort` all classifiers of a
cohort; `classifier` repairs a label from the `features` of its voxels.
"""
