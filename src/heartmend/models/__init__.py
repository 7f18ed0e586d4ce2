"""Implicit functions, their latent codes, and the model file of a whole data set."""
