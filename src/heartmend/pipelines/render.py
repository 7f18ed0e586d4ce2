"""A heart as a volume on any grid, from a model file or from the folder of a run."""

from __future__ import annotations

from pathlib import Path

from heartmend.errors import ConfigError, RunError
from heartmend.io.nifti import write_volume
from heartmend.io.volume import read_template
from heartmend.models.heart_model import fields_on, labels_on
from heartmend.models.label_decision import probability
from heartmend.models.model_file import load_heart_model
from heartmend.run_folder.folder import Run
from heartmend.stages.refine import write_render as write_stage1
from heartmend.types import Labels


def unified_model(path: Path) -> Path:
    """The file of a model: the path itself, or of a run's folder what its `unify` or `embed` left. RunError if none."""
    if not path.is_dir():
        return path
    run = Run.at(path)
    for verb in ("embed", "unify"):
        if (found := run.root / verb / "model.zip").is_file():
            return found
    raise RunError(f"{run.out}: is not unified yet; run `heartmend unify` first")


def write_render(
    model: Path, case_id: str, to: Path, resolution: int = 128, like: Path | None = None, structure: str = ""
) -> None:
    """Write what the function says of a case as NIfTI: a label map (uint8), or a structure's probability (float32).

    On (n, n, n) cells of the case's box in axes right, anterior, superior, or with `like` on the grid of that volume.
    Of a run that is fitted but not unified it is stage 1's shape that is asked, which knows no thin vessels. Raises
    BadInputError, RunError or ConfigError for a model, case or structure that is not there.
    """
    if model.is_dir() and not _is_unified(model):
        if like is not None:
            raise ConfigError(f"{model}: is not unified yet, and stage 1's shape has no --like; run `heartmend unify`")
        write_stage1(Run.at(model), case_id, to, resolution, structure)
        return
    known = load_heart_model(unified_model(model))
    heart = known.heart(case_id)
    grid = heart.frame.grid_at(resolution) if like is None else read_template(like)[1]
    if not structure:
        labels: Labels = labels_on(known, heart, grid)
        write_volume(labels, grid, to)
        return
    name = known.anatomy.by_name(structure).name
    if name not in known.shape.heads:
        raise ConfigError(f"{name} is no part of the model; there are {', '.join(known.shape.heads)}")
    write_volume(probability(fields_on(known, heart, grid)[name]).astype("float32"), grid, to)


def _is_unified(folder: Path) -> bool:
    try:
        unified_model(folder)
    except RunError:
        return False
    return True
