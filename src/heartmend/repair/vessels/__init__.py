"""Repair of thin vessels as trees of tubes: `case` repairs a vessel of a case, `tree_repair` a single mask.

Centreline and radius are those of `heartmend.geometry.centrelines`. `bridge` joins interrupted segments along the best
`links`, `verdicts` judges the components, and `blend` computes the mask from tube and label.
"""
