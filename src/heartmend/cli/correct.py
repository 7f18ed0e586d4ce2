"""Command `correct`."""

from __future__ import annotations

from heartmend.cli.stage_command import stage_command

EXAMPLES = """
heartmend correct labels/ -o out/ --images cts/
heartmend correct labels/ -o out/ --trusted expert/
"""

DESCRIPTION = """Measure the errors that all cases share, and correct them.

The same as `run --stop-after correct`: the surfaces of all cases are compared with the edges of their CTs, or with
trusted label maps of a few of them. OUT/run/correct contains the errors by region and their correction. Stages that
are not done yet are done first. Give all stages the same options: a stage whose input or settings changed is repeated.
"""

correct = stage_command("correct", DESCRIPTION)
