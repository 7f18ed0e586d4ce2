"""Trained models: `load_model` and `draw_population`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from heartmend.api.arguments import Names, ProgressLike, StrPath, as_names
from heartmend.compute.progress import as_progress
from heartmend.errors import ConfigError

if TYPE_CHECKING:
    from heartmend.models.heart_model import HeartModel


def load_model(path: StrPath) -> HeartModel:
    """Load a trained model.

    Args:
        path: a model file, or the folder of a run that made one.

    Returns:
        The model, with `render(case_id, spacing_mm=...)` and `mesh(case_id)`.

    Raises:
        BadInputError: if the file is not a model, or is damaged.
        RunError: if the run has no model.
    """
    from heartmend.models.model_file import load_heart_model
    from heartmend.run_folder.folder import model_file

    return load_heart_model(model_file(Path(path)))


def draw_population(
    model: StrPath | HeartModel, output: StrPath, *, between: Names = (), modes: int = 3, progress: ProgressLike = None,
) -> list[Path]:  # fmt: skip
    """Draw the mean shape, the shape modes and the outliers of a model, as `heartmend population`.

    Args:
        model: a model, its file, or the folder of a run that made one.
        output: folder of the figures and of hearts.csv.
        between: ids of two cases whose interpolation is drawn too.
        modes: number of principal shape modes, at most 10.
        progress: as for `run`.

    Returns:
        The files.

    Raises:
        ConfigError: if a case is unknown, or the model has too few hearts.
        BadInputError: if the file is not a model, or is damaged.
    """
    from heartmend.figures.population import draw_population as draw

    if len(pair := as_names(between)) not in (0, 2):
        raise ConfigError(f"between={between!r}: give the ids of two cases")
    if not 0 <= modes <= 10:
        raise ConfigError(f"modes={modes}: give a number from 0 to 10")
    known = load_model(model) if isinstance(model, str | PathLike) else model
    return draw(known, Path(output), pair, modes, as_progress(progress))
