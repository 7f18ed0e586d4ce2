"""Command `prepare`."""

from __future__ import annotations

from heartmend.cli.stage_command import stage_command

EXAMPLES = """
heartmend prepare labels/ -o out/
heartmend prepare labels/ -o out/ --scheduler slurm --workers 40
"""

DESCRIPTION = """Repair the visible errors of every case and crop it to its ROI.

The same as `run --stop-after prepare`: components far from the heart are removed, errors that are visible in one label
map are repaired, and the ROI is resampled to a cube for `fit`. The result is in OUT/run/prepare, and a later stage
continues from it. Give all stages the same options: a stage whose input or settings changed is repeated.
"""

prepare = stage_command("prepare", DESCRIPTION)
