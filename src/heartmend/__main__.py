"""Entry of `python -m heartmend`."""

from heartmend.cli.main import main

main()
