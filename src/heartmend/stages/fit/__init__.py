"""fit: one implicit shape of the structures shared by all cases, and one latent code for each case."""
