"""Anatomy of the coronary trees: left and right tree (`sides`) and the names of their segments (`naming`).

The rules are those of anatomy: where a tree arises at the aorta, and along which chambers and grooves it runs
(`surroundings`). Names and ids are those of ImageCAS-X (`segments`).
"""
