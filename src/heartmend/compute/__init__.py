"""Computing resources: worker processes, a cluster, the process group of a fit, and progress."""
