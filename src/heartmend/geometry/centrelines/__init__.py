"""Centrelines of thin vessels: `measurement` traces a mask as a forest (`tree`) with a radius at each point.

`skeleton` thins the mask, opens loops and prunes spurs; `tube` moves the line to the middle and measures the radius.
"""
