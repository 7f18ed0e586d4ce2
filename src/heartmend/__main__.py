"""`python -m heartmend`."""

from heartmend.cli.terminal import app

app()
