"""The output folder of a run: the only owner of its paths, its lock, its stamps and its typed records."""
