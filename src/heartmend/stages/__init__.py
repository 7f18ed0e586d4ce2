"""The stages of a run: prepare, fit, refine, fuse, unify, and embed for new cases."""
