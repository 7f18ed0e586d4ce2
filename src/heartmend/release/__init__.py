"""What was decided becomes a data set: maps put together, every layout that people use, and hand work taken back."""

from heartmend.release.compose import Plan, compose
from heartmend.release.corrected import import_corrected
from heartmend.release.export import export_release
from heartmend.release.layout import LAYOUTS, Layout
from heartmend.release.plan import Plans, Undecided, plan_release
from heartmend.release.segments import read_segments, write_segments

__all__ = [
    "LAYOUTS",
    "Layout",
    "Plan",
    "Plans",
    "Undecided",
    "compose",
    "export_release",
    "import_corrected",
    "plan_release",
    "read_segments",
    "write_segments",
]
