"""Evaluation of folders of label maps, nnU-Net data sets and runs."""

from __future__ import annotations

from pathlib import Path

from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import Progress
from heartmend.io.atomic import write_json
from heartmend.io.tables import write_csv, write_parquet
from heartmend.metrics.case import MapName
from heartmend.metrics.evaluation import Evaluation, EvaluationSettings, check_not_input, evaluate_cohorts
from heartmend.run_folder.folder import labels_folder, open_labels


def evaluate_folders(
    a: Path,
    b: Path,
    anatomy: Anatomy,
    reference: Path | None = None,
    settings: EvaluationSettings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compute the metrics of every case of two folders.

    The cases are those of the reference; without one, those of a and b. A case is skipped, with a reason, if one of the
    folders does not have it, if a file cannot be read, or if the maps have different grids.

    Args:
        a: folder of label maps, nnU-Net v2 data set, or the output folder of a run.
        b: another one, which is compared with a.
        anatomy: the structures of the label maps.
        reference: a third one, such as the ground truth; a and b are then compared with it.
        settings: tolerances, metrics, unknown labels and workers; the defaults if None.
        progress: receiver of progress reports, one step for each case.

    Returns:
        The rows of all cases, and the skipped cases.

    Raises:
        BadInputError: if a folder has no case, or no case can be compared.
        ConfigError: for an unknown metric or tolerance.
    """
    settings = settings or EvaluationSettings()
    folders = _folders(a, b, reference)
    options = settings.unknown_labels, settings.ids, settings.preset_ids
    cohorts = {name: open_labels(folder, anatomy, *options) for name, folder in folders.items()}
    return evaluate_cohorts(cohorts, folders, settings, progress)


def write_evaluation(found: Evaluation, out: Path) -> list[Path]:
    """Write the tables of an evaluation as CSV and Parquet, and all of it as JSON.

    Args:
        found: the evaluation.
        out: folder for the files, outside of the evaluated folders.

    Returns:
        The paths of the files.

    Raises:
        BadInputError: if the folder is in an evaluated folder.
        OutputError: if a file cannot be written.
    """
    check_not_input(out, *found.folders.values())
    written = []
    for table in found.tables:
        written += [out / f"{table.name}.csv", out / f"{table.name}.parquet"]
        write_csv(written[-2], table.columns, table.rows)
        write_parquet(written[-1], table.columns, table.rows)
    written.append(out / "evaluation.json")
    write_json(written[-1], found.to_dict())
    return written


def _folders(a: Path, b: Path, reference: Path | None) -> dict[MapName, Path]:
    folders: dict[MapName, Path] = {"a": labels_folder(Path(a)), "b": labels_folder(Path(b))}
    if reference is not None:
        folders["reference"] = labels_folder(Path(reference))
    return folders
