"""Repair of thin vessels as trees of tubes: `case` repairs a vessel of a case, `tree_repair` a single mask.

The steps: `skeleton` traces the centreline (`tree`), `tube` measures its radius, `bridge` joins interrupted segments
along the best `links`, and `blend` computes the mask from tube and label.
"""
