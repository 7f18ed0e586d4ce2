"""Quality of the input: the check before a run, and the ranking of suspicious labels."""
