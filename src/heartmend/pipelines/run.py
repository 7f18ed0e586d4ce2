"""The verbs in order. `run` does them all, and goes on where an earlier run of the same OUT was cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.cluster import scheduled
from heartmend.compute.process_group import ProcessGroup, process_group
from heartmend.compute.workers import cores, keep_memory
from heartmend.errors import ConfigError, HeartmendError, OutputError, RunError
from heartmend.io.atomic import write_json
from heartmend.io.colour_tables import write_itksnap_labels, write_slicer_colours
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.label_maps import UnknownLabels
from heartmend.pipelines.config import Config
from heartmend.run_folder.admission import cannot_write
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import classified_heads, heads_of, warnings_of
from heartmend.stages.fit import FitSettings, fit
from heartmend.stages.fuse import fuse_cohort
from heartmend.stages.prepare import prepare
from heartmend.stages.refine import refine
from heartmend.stages.unify import unify
from heartmend.stages.voxel_classifiers import classifiers_wanted, train_classifiers
from heartmend.training.loop import Step

log = logging.getLogger(__name__)

VERBS = ("prepare", "fit", "refine", "fuse", "unify")
Verb = Literal["prepare", "fit", "refine", "fuse", "unify"]


class Watcher:
    """What looks on while a run goes: nothing here, a terminal in `cli`."""

    def verb(self, name: str, total: int) -> None:
        """A verb begins, with so many cases or steps."""

    def advanced(self, done: int, note: str = "") -> None:
        """The verb has done so many, and has this to say."""


@dataclass(frozen=True)
class Result:
    """What came of a run: the mended cases, those that were skipped with the reason, and what is odd about others."""

    out: Path
    mended: tuple[str, ...]
    skipped: dict[str, str]
    warnings: dict[str, list[str]] = field(default_factory=dict)
    is_main: bool = True
    """False in a process that only helped another, which has the result."""


@dataclass(frozen=True)
class Request:
    """What a run is asked for; see `heartmend run --help`."""

    labels: Path
    out: Path
    images: Path | None = None
    anatomy: str = "heart"
    structures: tuple[str, ...] = ()
    unknown_labels: UnknownLabels = "error"
    device: str = "auto"
    devices: int = 1
    workers: int = 0
    scheduler: str = ""
    until: Verb = "unify"
    resume: bool = True


def run(request: Request, config: Config, watcher: Watcher | None = None) -> Result:
    """Mend a folder of label maps into OUT/labels. Goes on with what is already done there.

    One bad case never stops the others: it is listed in `Result.skipped` and in OUT/run/skipped.json, and an older
    result of it is moved to OUT/run/withdrawn. Raises HeartmendError when nothing could be done at all, OutputError
    among them when the disk is full.
    """
    keep_memory()
    with process_group(resolve_device(request.device), request.devices) as team:
        if team.is_main:
            with scheduled(request.scheduler, request.workers):
                return _run(request, config, team, watcher or Watcher())
        team.follow()
        return Result(request.out, (), {}, is_main=False)


def _run(request: Request, config: Config, team: ProcessGroup, watcher: Watcher) -> Result:
    anatomy = load_anatomy(request.anatomy)
    structures = tuple(anatomy.by_name(name).name for name in request.structures)
    cohort = discover_cohort(request.labels, request.images, anatomy=anatomy, unknown_labels=request.unknown_labels)
    with Run.open(request.out, request.labels, request.images) as folder:
        if not request.resume and any(folder.root.joinpath(verb).exists() for verb in VERBS):
            raise RunError(f"{request.out}: holds a run already; leave --no-resume away, or give another --out")
        skipped = dict(cohort.skipped)
        try:
            _explain(folder, cohort, config, request, anatomy)
            warnings = _prepare(folder, cohort, config, request, skipped, watcher)
            if request.until != "prepare":
                _mend(folder, cohort, config, request, structures, team, skipped, watcher)
        except OutputError:
            raise
        except HeartmendError:
            _write_skipped(folder, skipped)
            raise
        except OSError as error:
            raise OutputError(cannot_write(folder.out, error)) from error
        _write_skipped(folder, skipped)
        mended = _left(cohort, skipped)
        if request.until in ("fuse", "unify") and (away := folder.withdraw("fuse", mended)):
            log.warning("%d results of cases that are not mended any more are in %s", len(away), away[0].parent)
        return Result(folder.out, tuple(mended), skipped, warnings)


def resolve_device(asked: str) -> str:
    """`auto` is the GPU when there is one; ConfigError for a device that torch does not have."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise ConfigError(f"--device {asked}: {str(error).splitlines()[0]}; give cpu, cuda or auto") from error
    # Not by trying: whoever puts a number on a GPU keeps half a gigabyte of it.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"--device {asked}: torch sees {count} GPUs here; give cpu, auto or a GPU that there is")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {asked}: give cpu, cuda or auto")
    return asked


def _explain(folder: Run, cohort: Cohort, config: Config, request: Request, anatomy: Anatomy) -> None:
    """Leave in the run folder what was asked, with what, and how to look at the result."""
    images = None if request.images is None else request.images.resolve()
    asked = {"structures": request.structures, "images": images, "device": request.device, "until": request.until}
    folder.write_config({**config.model_dump(mode="json"), "request": asked})
    folder.write_versions()
    folder.write_cohort(cohort)
    write_json(folder.root / "anatomy.json", anatomy)
    write_slicer_colours(anatomy, folder.root / f"{anatomy.name}.ctbl")
    write_itksnap_labels(anatomy, folder.root / f"{anatomy.name}.itksnap.txt")


def _write_skipped(folder: Run, skipped: dict[str, str]) -> None:
    """In the order of the ids, whichever was told first."""
    in_order = dict(sorted(skipped.items()))
    skipped.clear()
    skipped.update(in_order)
    write_json(folder.root / "skipped.json", skipped)


def _left(cohort: Cohort, skipped: dict[str, str]) -> list[str]:
    """The cases that were not skipped so far; RunError when there is none."""
    left = [case.id for case in cohort if case.id not in skipped]
    if not left:
        why = next(iter(skipped.values()))
        raise RunError(f"none of the {len(skipped)} label maps could be used; the first: {why}")
    return left


def _prepare(
    folder: Run, cohort: Cohort, config: Config, request: Request, skipped: dict[str, str], watcher: Watcher
) -> dict[str, list[str]]:
    """Prepare all cases; returns what is odd about their files, and leaves it in OUT/run/warnings.json."""
    watcher.verb("prepare", len(cohort))
    outcomes = prepare(folder, cohort, config.prepare, request.workers)
    _collected(((case.id, error) for case, _, error in outcomes), skipped, watcher)
    warnings = warnings_of(folder, _left(cohort, skipped))
    write_json(folder.root / "warnings.json", warnings)
    return warnings


def _mend(
    folder: Run, cohort: Cohort, config: Config, request: Request, structures: tuple[str, ...],
    team: ProcessGroup, skipped: dict[str, str], watcher: Watcher,
) -> None:  # fmt: skip
    ready = _left(cohort, skipped)
    tubes = ("tube",) if config.fuse.repair_vessels else ()
    heads = heads_of(cohort.anatomy, structures, without=tubes)
    singular = classified_heads(cohort.anatomy, heads)
    shared = {name: id for name, id in heads.items() if name not in singular}
    model = around = None
    torch.set_num_threads(cores())
    if shared:
        watcher.verb("fit", sum(phase.steps for phase in config.fit.phases_for(len(ready))))
        model = fit(
            folder, ready, shared, config.fit,
            seed=config.seed, team=team, workers=request.workers, progress=_fit_progress(watcher),
        )  # fmt: skip
    seen = cohort if config.fuse.image_edges else None
    if singular:
        judges = classifiers_wanted(ready, singular, seen)
        watcher.verb("voxel_classifier", config.fit.voxel_classifier.steps * len(judges))
        around = train_classifiers(
            folder, ready, singular, config.fit.voxel_classifier, images=seen,
            seed=config.seed, progress=lambda step, loss: watcher.advanced(step, f"loss {loss:.3f}"),
        )  # fmt: skip
    if request.until == "fit":
        return
    watcher.verb("refine", len(ready))
    outcomes = refine(folder, model, ready, heads, config.refine, request.workers, around=around, images=seen)
    _collected(((id, error) for id, _, error in outcomes), skipped, watcher)
    if request.until == "refine":
        return
    todo = [cohort[id] for id in _left(cohort, skipped)]
    watcher.verb("fuse", len(todo))
    fused = fuse_cohort(folder, cohort, todo, config.fuse, structures, request.workers)
    _collected(((case.id, error) for case, _, error in fused), skipped, watcher)
    if request.until == "fuse":
        return
    _unify(folder, cohort, [case for case in todo if case.id not in skipped], model, config, request, team, watcher)


def _unify(
    folder: Run, cohort: Cohort, cases: list[Case], model: Path | None, config: Config, request: Request, team: ProcessGroup,
    watcher: Watcher,
) -> None:  # fmt: skip
    if not cases:
        return
    if all(structure.kind == "tube" for structure in cohort.anatomy.structures):
        log.warning("unify: anatomy %s has thin vessels alone, and no template can hold them", cohort.anatomy.name)
        return
    unified = config.unify.for_cases(len(cases))
    steps = sum(phase.steps for phase in (*unified.template_phases, *unified.phases))
    watcher.verb("unify", steps)
    torch.set_num_threads(cores())
    first = config.fit if config.fit.shape == "template" else FitSettings()
    drawn = {"cases_per_step": config.unify.cases_per_step, "gradient_accumulation": 1}
    coarse = first.model_copy(update=drawn).phases_for(len(cases))
    unify(
        folder, cohort, cases, model, coarse, config.unify,
        seed=config.seed, team=team, workers=request.workers, progress=_fit_progress(watcher),
    )  # fmt: skip


def _collected(outcomes: Iterable[tuple[str, Exception | None]], skipped: dict[str, str], watcher: Watcher) -> None:
    for done, (id, error) in enumerate(outcomes, start=1):
        # A full disk is no case's fault; to go on would leave out all the others too.
        if isinstance(error, OutputError):
            raise error
        if error is not None:
            skipped[id] = str(error)
            if not isinstance(error, HeartmendError):
                log.error("case %s: %s", id, error, exc_info=error)
                skipped[id] = f"unexpected {type(error).__name__}: {error}; this is a fault of Heartmend: report it"
            log.warning("case %s is left out: %s", id, skipped[id])
        watcher.advanced(done)


def _fit_progress(watcher: Watcher) -> Callable[[Step, float | None], None]:
    def tell(step: Step, whole: float | None) -> None:
        dice = float(step.dice.mean())
        seen = f", whole volumes {whole:.3f}" if whole is not None else ""
        note = f"loss {step.loss:.3f}, Dice {dice:.3f}{seen}, {step.peak_memory_bytes / 2**30:.1f} GiB"
        watcher.advanced(step.number, note)

    return tell
