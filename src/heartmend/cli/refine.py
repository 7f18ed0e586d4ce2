"""Command `refine`."""

from __future__ import annotations

from heartmend.cli.stage_command import stage_command

EXAMPLES = """
heartmend refine labels/ -o out/
"""

DESCRIPTION = """Compute the masks of every case from the fitted shapes.

The same as `run --stop-after refine`: the masks are on the grid of the input label map. Stages that are not done yet
are done first. Give all stages the same options: a stage whose input or settings changed is repeated.
"""

refine = stage_command("refine", DESCRIPTION)
