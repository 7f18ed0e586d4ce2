"""Command `prepare`."""

from __future__ import annotations

from heartmend.cli.stage_command import stage_command

EXAMPLES = """
heartmend prepare labels/ -o out/
heartmend prepare labels/ -o out/ --scheduler slurm --workers 40
"""

DESCRIPTION = """Crop every case to its ROI, resample it and repair slice artefacts.

The same as `run --stop-after prepare`: the result is in OUT/run/prepare, and a later stage continues from it.
"""

prepare = stage_command("prepare", DESCRIPTION)
