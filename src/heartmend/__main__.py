"""`python -m heartmend`."""

from heartmend.cli import app

app()
