"""Errors that all cases of a data set share: `surface` divides the template's surface into patches, `profiles` measures
the image across them in each case, `edges` locates the edge in a profile, `differences` compares trusted label maps,
`estimate` combines the cases, and `correction` moves the surfaces of all cases.
"""
