"""Command `fuse`."""

from __future__ import annotations

from heartmend.cli.stage_command import writing_stage_command

EXAMPLES = """
heartmend fuse labels/ -o out/
heartmend fuse labels/ -o out/ --explain 001
"""

DESCRIPTION = """Fuse the masks of every case into one repaired label map.

The same as `run --stop-after fuse`: by priority, evidence and the rules of anatomy. Stages that are not done yet are
done first. Give all stages the same options: a stage whose input or settings changed is repeated.
"""

fuse = writing_stage_command("fuse", DESCRIPTION)
