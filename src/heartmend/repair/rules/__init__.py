"""Rules of anatomy on a label map: missing and shifted slices, speckle, swapped labels, interrupted vessels, holes,
surplus components. `apply` applies them in the order of the anatomy file; each other module has the rules of its name.
"""
