"""Repair of one label map, from file to file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heartmend.compute.workers import keep_freed_memory, one_thread
from heartmend.errors import BadInputError
from heartmend.io.dataset import Case, Cohort
from heartmend.io.file_names import volume_ending
from heartmend.io.label_maps import UnknownLabels
from heartmend.io.label_tables import folder_tables
from heartmend.models.model_file import load_heart_model
from heartmend.models.prior import load_built_in_prior
from heartmend.pipelines.repair_labels import CASE_ID, OneCase, RepairedCase, repair_case
from heartmend.run_folder.folder import model_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RepairRequest:
    """Inputs and options; see `heartmend repair --help`.

    Attributes:
        labels: the label map: a volume file, or the folder of a case.
        output: the file to write, or the folder if `labels` is one.
        image: CT of the heart; None: labels alone.
        model: file of a model of hearts of the same kind; None: the prior that is part of Heartmend.
        structures: names of the structures that may change; empty: all of them.
        unknown_labels: what to do with label values that the anatomy does not have: `error` or `keep`.
        ids: value of the label map -> name of a structure, or a TOML or JSON file with such a table; None: without.
        preset_ids: name of a public data set whose values the label map has, such as `mmwhs`; empty: none.
        seed: of all random draws.
    """

    labels: Path
    output: Path
    image: Path | None = None
    model: Path | None = None
    structures: tuple[str, ...] = ()
    unknown_labels: UnknownLabels = "error"
    ids: Path | Mapping[int, str] | None = None
    preset_ids: str = ""
    seed: int = 0


def repair_file(request: RepairRequest) -> RepairedCase:
    """Repair one label map. The result appears only when it is whole; the input is not changed.

    Args:
        request: what to do.

    Returns:
        The repaired case.

    Raises:
        BadInputError: if a file cannot be used, or the output exists as something else than a file of the same form.
        ConfigError: if a name, `ids` or `preset_ids` is not valid.
        OutputError: if the result cannot be written.
    """
    keep_freed_memory()
    path, model = request.labels, None if request.model is None else model_file(request.model)
    if not path.exists():
        raise BadInputError(f"{path}: there is no such file; give one label map")
    if request.output.exists() and request.output.samefile(path):
        raise BadInputError(f"{path}: is the input, which is never written to; give another --output")
    if request.output.is_dir() and not path.is_dir():
        raise BadInputError(f"{request.output}: is a folder; give the name of the file to write")
    if (ending := volume_ending(path)) != volume_ending(request.output):
        raise BadInputError(
            f"{request.output}: has another ending than {path.name}; the result has the form of the input"
            + (f", {ending}" if ending else "")
        )
    prior = load_built_in_prior("heart") if model is None else (load_heart_model(model),)
    anatomy = prior[0].anatomy
    structures = tuple(anatomy.by_name(name).name for name in request.structures)
    # A table beside the label maps that has the name of another of them is not for this one.
    stems = frozenset(one.name.removesuffix(volume_ending(one) or "") for one in (path, *path.parent.iterdir()))
    tables = folder_tables(path.parent, stems, anatomy, request.ids, request.preset_ids)
    case = Case(CASE_ID, path, request.image, tables.of(path))
    cohort = Cohort((case,), anatomy, request.unknown_labels)
    volume = cohort.read_labels(case)
    cohort.check_writable(volume)
    for warning in (*volume.warnings, *cohort.check_image(case, volume.grid)):
        log.warning("%s: %s", path, warning)
    image = cohort.read_image(case, volume.grid)
    one = OneCase(volume.labels, volume.grid, None if image is None else image.values, structures)
    # With one thread, as in memory: the last bit of a sum depends on the number of threads.
    with one_thread():
        repaired = repair_case(prior, anatomy, one, is_own=model is not None, seed=request.seed)
    request.output.parent.mkdir(parents=True, exist_ok=True)
    cohort.write_labels(case, repaired.labels, request.output, volume.unknown)
    return repaired
