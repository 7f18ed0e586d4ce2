"""Options that several commands share: one spelling, one help text, one group each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

INPUT, SETTINGS, OUTPUT, COMPUTATION = "Input", "Settings", "Output", "Computation"

Stage = Literal["prepare", "fit", "refine", "correct", "fuse", "unify"]
Preset = Literal["mend", "fast", "reference"]
Unknown = Literal["error", "keep"]

LABELS_HELP = "Folder of label maps, or an nnU-Net v2 data set."
MAPS_HELP = "Folder of label maps, an nnU-Net v2 data set, or the output folder of a run"

Labels = Annotated[Path, typer.Argument(metavar="LABELS", help=LABELS_HELP)]
RunFolder = Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a run.")]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Model file (model.zip), or the output folder of a run that made one.")
]
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="Case id.")]

Images = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="FOLDER", rich_help_panel=INPUT, help="Folder of CT images, named as the label maps."
    ),
]
MovedImages = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="FOLDER", rich_help_panel=INPUT, help="Folder of CT images, if it was moved since the run."
    ),
]
MovedLabels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FOLDER",
        rich_help_panel=INPUT,
        help="Folder of the original label maps, if it was moved since the run.",
    ),
]
Trusted = Annotated[
    Path | None,
    typer.Option(
        "--trusted", metavar="FOLDER", rich_help_panel=INPUT,
        help="Label maps that an expert drew of 3 or more cases: errors that the others share are corrected by them.",
    ),
]  # fmt: skip
ConventionFile = Annotated[
    Path | None,
    typer.Option(
        "--convention", metavar="FILE", rich_help_panel=INPUT,
        help="Correction for all cases: a file of `heartmend convention`, or of another run.",
    ),
]  # fmt: skip
Reference = Annotated[
    Path | None,
    typer.Option(
        "--reference", "-r", metavar="FOLDER", rich_help_panel=INPUT,
        help="True label maps: a folder, an nnU-Net v2 data set, or the output folder of a run.",
    ),
]  # fmt: skip
AnatomyName = Annotated[
    str,
    typer.Option("--anatomy", metavar="NAME", rich_help_panel=INPUT, help="Anatomy: heart, adrenal, or a TOML file."),
]
Structures = Annotated[
    str,
    typer.Option(
        "--structures", metavar="NAMES", rich_help_panel=INPUT, help="These structures only, such as LA,LV.",
    ),
]  # fmt: skip
Segments = Annotated[
    bool,
    typer.Option(
        "--segments", rich_help_panel=OUTPUT,
        help="Write the named segments of the coronary arteries, with the ids of ImageCAS-X, to OUT/segments.",
    ),
]  # fmt: skip
Uncertainty = Annotated[
    bool,
    typer.Option(
        "--uncertainty", rich_help_panel=OUTPUT,
        help="Write the probability of an error of each voxel, in percent, to OUT/uncertainty.",
    ),
]  # fmt: skip
UnknownLabels = Annotated[
    Unknown,
    typer.Option(
        "--unknown-labels", metavar="error|keep", rich_help_panel=INPUT,
        help="Label ids that the anatomy does not have: error (skip the case), or keep (unchanged background).",
    ),
]  # fmt: skip

Ids = Annotated[
    Path | None,
    typer.Option(
        "--ids", metavar="FILE", rich_help_panel=INPUT,
        help='Which structure each value is: TOML or JSON, such as 205 = "Myocardium".',
    ),
]  # fmt: skip
PresetIds = Annotated[
    str,
    typer.Option(
        "--preset-ids", metavar="NAME", rich_help_panel=INPUT,
        help="Values of a public data set, such as mmwhs, totalsegmentator-v2 or imagecas.",
    ),
]  # fmt: skip

PresetName = Annotated[
    Preset,
    typer.Option(
        "--preset", metavar="mend|fast|reference", rich_help_panel=SETTINGS,
        help="Settings: mend, fast (coarser and quicker), or reference (those of the NeAR project).",
    ),
]  # fmt: skip
PriorModel = Annotated[
    str,
    typer.Option(
        "--prior", metavar="auto|none|MODEL", rich_help_panel=SETTINGS,
        help="Template of other hearts: auto (for one or two cases; the default), none, or a model file.",
    ),
]  # fmt: skip
KeepFarComponents = Annotated[
    bool,
    typer.Option(
        "--keep-far-components", rich_help_panel=SETTINGS, help="Keep components that are far from the heart.",
    ),
]  # fmt: skip
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", rich_help_panel=SETTINGS, help="TOML file with one table per stage."),
]

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FOLDER", rich_help_panel=OUTPUT, help="Folder for the result.")
]
RunOutput = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="OUT", rich_help_panel=OUTPUT,
        help="Output folder of the run; a run that is in it is continued.",
    ),
]  # fmt: skip
OptionalOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", rich_help_panel=OUTPUT, help="Folder for the written files."),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume", rich_help_panel=OUTPUT,
        help="Continue the run in the output folder, or end with an error if there is one.",
    ),
]  # fmt: skip

Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", rich_help_panel=COMPUTATION, help="Device of the fits: auto, cpu, cuda, cuda:1, ..."
    ),
]
Devices = Annotated[
    int,
    typer.Option(
        "--devices", metavar="N", min=1, rich_help_panel=COMPUTATION,
        help="Number of GPUs of this machine for one fit.",
    ),
]  # fmt: skip
Workers = Annotated[
    int,
    typer.Option(
        "--workers", metavar="N", min=0, rich_help_panel=COMPUTATION,
        help="Number of worker processes (0: one per CPU core).",
    ),
]  # fmt: skip
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler", metavar="ADDRESS", rich_help_panel=COMPUTATION,
        help="Dask cluster for the work on single cases: tcp://HOST:PORT, a scheduler file, or slurm.",
    ),
]  # fmt: skip


def split_names(text: str) -> tuple[str, ...]:
    """Split names at commas.

    Args:
        text: such as "LA, LV".

    Returns:
        The names without spaces; empty ones are left out.

    Example:
        >>> split_names("LA, LV,")
        ('LA', 'LV')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def choices(*allowed: str) -> Callable[[str], str]:
    """Return a callback of typer that checks a list of names with commas.

    Args:
        *allowed: the names that exist.

    Returns:
        A function that returns its text in lower case, and raises `typer.BadParameter` for a name that does not exist.
    """

    def check(text: str) -> str:
        if unknown := [name for name in split_names(text.lower()) if name not in allowed]:
            raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(allowed)}")
        return text.lower()

    return check
