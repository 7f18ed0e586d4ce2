"""Where work is done: worker processes, a cluster, and the process group of a fit."""
