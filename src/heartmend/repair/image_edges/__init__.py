"""Boundaries of a label map at the edges of its image: `borders` between structures, `edges` of the image along them,
`snap` moves the boundaries, and `case` does so for a case, within the limits of acceptance.
"""
