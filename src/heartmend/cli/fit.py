"""Command `fit`."""

from __future__ import annotations

from heartmend.cli.stage_command import stage_command

EXAMPLES = """
heartmend fit labels/ -o out/
heartmend fit labels/ -o out/ --devices 4
"""

DESCRIPTION = """Fit one implicit shape to all cases, with one code per case.

The same as `run --stop-after fit`. Cases that are not prepared yet are prepared first. An interrupted fit continues
from its last checkpoint. Give all stages the same options: a stage whose input or settings changed is repeated.
"""

fit = stage_command("fit", DESCRIPTION)
