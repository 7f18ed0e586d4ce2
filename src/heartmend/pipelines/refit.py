"""Repair the other cases of a run again, from label maps that were corrected by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heartmend.compute.process_group import process_group
from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.resources import Compute
from heartmend.compute.workers import keep_freed_memory
from heartmend.errors import RunError
from heartmend.io.dataset import discover_cohort
from heartmend.io.file_names import real_path
from heartmend.pipelines.config import Config
from heartmend.pipelines.driver import run_steps
from heartmend.pipelines.result import Result
from heartmend.pipelines.run import make_plan, resolve_device, steps_of
from heartmend.pipelines.trusted import check_trusted
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import Context


@dataclass(frozen=True)
class RefitRequest:
    """Inputs and options of a refit.

    Attributes:
        output: OUT.
        trusted: folder of the corrected label maps, in the form and under the names of the input.
        kept: ids of the cases whose results stay as they are: a person has decided about them.
        labels: the input folder of label maps, where it was moved.
        images: the input folder of CTs, where it was moved.
        device: for the fits, as of `run`.
        workers: worker processes; 0: one per CPU core.
    """

    output: Path
    trusted: Path
    kept: frozenset[str]
    labels: Path | None = None
    images: Path | None = None
    device: str = "auto"
    workers: int = 0


def refit(request: RefitRequest, progress: Progress | None = None) -> Result:
    """Run the stages of a run again that depend on trusted label maps.

    The corrected maps are fitted in place of the label maps of their cases, with the full weight of a case (stage
    `fit`). What they have in common with each other and not with the repaired maps is corrected in all other cases
    (stage `correct`), which are refined and fused anew. What is done already with the same corrected maps is not
    repeated.

    Args:
        request: what to do.
        progress: receiver of progress reports.

    Returns:
        The result.

    Raises:
        RunError: if there is no run, or it has not finished its stage `refine`.
        BadInputError: if there are too few trusted label maps, or one cannot be used.
    """
    keep_freed_memory()
    with process_group(resolve_device(request.device), 1) as group:
        return _refit(request, Compute(request.workers, group), progress or NoProgress())


def _refit(request: RefitRequest, compute: Compute, progress: Progress) -> Result:
    at = RunFolder.at(request.output)
    cohort = at.cohort(request.labels, request.images)
    config, structures = _settings(at)
    trusted = discover_cohort(request.trusted, anatomy=cohort.anatomy, unknown_labels=cohort.unknown_labels)
    trusted = trusted.with_tables(at.label_tables())
    check_trusted(trusted, cohort, request.trusted)
    plan = replace(
        make_plan(config, cohort.anatomy, structures), trusted=trusted, kept=request.kept, learns_from_trusted=True
    )
    with RunFolder.open(request.output, at.labels_dir(), request.images or at.images_dir()) as folder:
        settings = at.settings()
        settings["request"] = {**settings.get("request", {}), "trusted": real_path(request.trusted)}
        folder.write_settings(settings)
        context = Context[Any](folder, cohort, config, plan, compute, progress)
        prior = str(settings["request"].get("prior", ""))
        skipped = run_steps(steps_of(config, "fuse", cohort.anatomy, prior), context)
        done = tuple(case.id for case in cohort if case.id not in skipped)
        return Result(folder.output, done, skipped, folder.warnings())


def _settings(run: RunFolder) -> tuple[Config, tuple[str, ...]]:
    """The settings of a run, and the structures that it repairs."""
    table = run.settings()
    request = table.pop("request", {})
    try:
        config = Config.model_validate_json(json.dumps(table))
    except ValidationError as error:
        raise RunError(
            f"{run.output}: its settings are those of another version of Heartmend; continue it with `heartmend run`"
        ) from error
    return config, tuple(request.get("structures", ()))
