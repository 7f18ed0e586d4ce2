"""Command `unify`."""

from __future__ import annotations

from heartmend.cli.stage_command import writing_stage_command

EXAMPLES = """
heartmend unify labels/ -o out/
heartmend unify labels/ -o out/ --device cuda
"""

DESCRIPTION = """Fit one model of all structures to the repaired label maps.

The same as `run`. The model is OUT/run/unify/model.zip; `render`, `mesh`, `embed` and `population` use it.
Stages that are not done yet are done first. Give all stages the same options: a stage whose input or settings changed
is repeated.
"""

unify = writing_stage_command("unify", DESCRIPTION)
