"""A reviewed run as a data set: layouts, change log, corrected maps."""
