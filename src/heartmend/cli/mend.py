"""The commands that mend: run, its verbs one by one, and what to ask of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.progress import Progress, TaskID

from heartmend.cli.terminal import (
    SOME_REFUSED,
    AnatomyName,
    ConfigFile,
    Device,
    Devices,
    Images,
    Labels,
    Out,
    Preset,
    Resume,
    RunFolder,
    Scheduler,
    Structures,
    UnknownLabels,
    Workers,
    app,
    console,
    plain,
    progress_bar,
    told,
)
from heartmend.errors import HeartmendError, RunError
from heartmend.io.atomic import read_json
from heartmend.pipelines.config import Config, load_config
from heartmend.pipelines.run import VERBS, Request, Result, Verb, Watcher
from heartmend.pipelines.run import run as run_pipeline
from heartmend.repair.change_log import ChangeLog


@app.command()
def run(
    labels: Labels, out: Out, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", device: Device = "auto", devices: Devices = 1, workers: Workers = 0,
    scheduler: Scheduler = "", preset: Preset = "mend",
    fast: Annotated[bool, typer.Option("--fast", help="Short for --preset fast.")] = False,
    config: ConfigFile = None, until: Annotated[str, typer.Option(help="Stop after this verb.")] = "unify",
    resume: Resume = True,
) -> None:  # fmt: skip
    """Mend every label map in LABELS; OUT/labels holds the same files, mended, each on exactly its own grid.

    OUT/run holds what is needed to resume, explain and repeat it. A run that was cut off goes on where it was.
    Exit status: 0 all mended, 3 some cases skipped (OUT/run/skipped.json says why), 1 nothing could be done.
    """
    request = request_for(
        labels, out, images, anatomy, structures, unknown_labels, device, workers, until, resume, devices, scheduler
    )
    with told():
        result = watched(request, load_config("fast" if fast else preset, config))
        say(result)
    if result.skipped:
        raise typer.Exit(SOME_REFUSED)


def _verb(name: Verb, text: str) -> None:
    """One verb as a command of its own: the same run, stopped after it."""

    def command(
        labels: Labels, out: Out, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
        unknown_labels: UnknownLabels = "error", device: Device = "auto", devices: Devices = 1, workers: Workers = 0,
        scheduler: Scheduler = "", preset: Preset = "mend",
        config: ConfigFile = None, resume: Resume = True,
    ) -> None:  # fmt: skip
        request = request_for(
            labels, out, images, anatomy, structures, unknown_labels, device, workers, name, resume, devices, scheduler
        )
        with told():
            result = watched(request, load_config(preset, config))
            say(result)
        if result.skipped:
            raise typer.Exit(SOME_REFUSED)

    command.__doc__ = text
    app.command(name)(command)


_verb("prepare", "Bring every case to the unit frame: ROI, resampling, stairs and slices mended.")
_verb("fit", "Stage 1: fit one implicit shape of each structure, shared by all cases, and one code for each case.")
_verb("refine", "Each case's masks from the fitted shapes, on the grid that the case came on.")
_verb("unify", "Stage 3: one function with a head for every structure that holds every heart of the data set.")


@app.command()
def fuse(
    labels: Labels, out: Out, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    unknown_labels: UnknownLabels = "error", device: Device = "auto", devices: Devices = 1, workers: Workers = 0,
    scheduler: Scheduler = "", preset: Preset = "mend",
    config: ConfigFile = None, resume: Resume = True,
    case: Annotated[str, typer.Option("--explain", metavar="CASE", help="Then show what was changed in CASE.")] = "",
) -> None:  # fmt: skip
    """Stage 2: ten masks into one label map by priority, evidence and the rules of anatomy."""
    request = request_for(
        labels, out, images, anatomy, structures, unknown_labels, device, workers, "fuse", resume, devices, scheduler
    )
    with told():
        result = watched(request, load_config(preset, config))
        say(result)
        if case:
            _explain(out, case)
    if result.skipped:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def explain(run_folder: RunFolder, case: Annotated[str, typer.Argument(metavar="[CASE]")] = "") -> None:
    """Show what was changed in CASE: each rule, where and how much; without a CASE, a summary over all of them."""
    with told():
        _explain(run_folder, case)


def _explain(run_folder: Path, case: str) -> None:
    from heartmend.repair.change_log import explain as as_text
    from heartmend.repair.change_log import summary_table
    from heartmend.run_folder.folder import Run

    run = Run.at(run_folder)
    if not case:
        console.print(summary_table([_audit(path) for path in sorted(run.folder("fuse").glob("*.json"))]))
        return
    path = run.case_path("fuse", case, ".json")
    if not path.is_file():
        raise HeartmendError(f"{path}: no audit of case {case!r} there; give the id of a mended case")
    console.print(as_text(_audit(path)))


def _audit(path: Path) -> ChangeLog:
    try:
        return ChangeLog.from_dict(read_json(path))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{path}: is no audit; remove it and give the command again that makes it") from error


class Bars(Watcher):
    """Progress bars in the terminal, one for each verb."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def verb(self, name: str, total: int) -> None:
        self._task = self._bar.add_task(name, total=total, note="")

    def advanced(self, done: int, note: str = "") -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, note=note)


def watched(request: Request, config: Config) -> Result:
    """Do a run with its bars on the terminal."""
    with progress_bar() as bar:
        return run_pipeline(request, config, Bars(bar))


def say(result: Result) -> None:
    """Tell what came of a run: what is odd, which cases were skipped and why, how many are done."""
    if not result.is_main:
        return
    for case, warnings in result.warnings.items():
        for warning in warnings:
            console.print(f"[yellow]odd {plain(case)}[/]: {plain(warning)}", soft_wrap=True)
    for case, why in result.skipped.items():
        console.print(f"[bold red]skipped {plain(case)}[/]: {plain(why)}", soft_wrap=True)
    console.print(f"{len(result.mended)} cases done, {len(result.skipped)} skipped: {plain(result.out)}")


def request_for(
    labels: Path, out: Path, images: Path | None, anatomy: str, structures: str, unknown_labels: str, device: str, workers: int,
    until: str, resume: bool, devices: int = 1, scheduler: str = "",
) -> Request:  # fmt: skip
    """The request that a command's words mean; what is no choice is a bad parameter."""
    names = tuple(name.strip() for name in structures.split(",") if name.strip())
    if unknown_labels not in ("error", "keep"):
        raise typer.BadParameter("give error or keep", param_hint="--unknown-labels")
    if until not in VERBS:
        raise typer.BadParameter(f"give one of {', '.join(VERBS)}", param_hint="--until")
    return Request(
        labels, out, images, anatomy, names, cast(Literal["error", "keep"], unknown_labels), device, devices, workers, scheduler,
        cast(Verb, until), resume,
    )  # fmt: skip
