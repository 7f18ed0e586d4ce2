"""The command line: a thin shell. A command's help is its function's docstring."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from heartmend import __version__
from heartmend.anatomy import load_anatomy
from heartmend.config import Config, load_config
from heartmend.errors import HeartmendError
from heartmend.pipeline import Request, Result, Verb, Watcher
from heartmend.pipeline import run as run_pipeline

app = typer.Typer(
    name="heartmend", help="Mend the labels of a whole data set of hearts at once, with neural implicit shapes.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
console = Console()
ALL, FAILED, SOME_REFUSED = 0, 1, 3

Labels = Annotated[Path, typer.Argument(help="Folder of label maps, or an nnU-Net v2 data set folder.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the result; an unfinished run there goes on.")]
Folder = Annotated[Path, typer.Option("--out", "-o", help="Folder for the result.")]
RunFolder = Annotated[Path, typer.Argument(metavar="OUT", help="The folder that a run was given as --out.")]
Images = Annotated[Optional[Path], typer.Option(help="Folder of the CTs, named as the label maps.")]  # noqa: UP045  (typer)
AnatomyName = Annotated[str, typer.Option("--anatomy", help="heart, adrenal, or a TOML file of your own.")]
Structures = Annotated[str, typer.Option(help="Mend these alone, such as Coronary,LA.")]
Other = Annotated[str, typer.Option(help="Ids that the anatomy lacks: error, or keep them untouched.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Workers = Annotated[int, typer.Option(help="Processes for what is done case by case; 0: one a core.")]
Preset = Annotated[str, typer.Option(help="mend (the default), fast, or reference (the reference project's settings).")]
ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="TOML file; one table for each verb.")]  # noqa: UP045
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on with what is in OUT.")]


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    """Mend the labels of a whole data set of hearts at once, with neural implicit shapes."""
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    if version:
        console.print(f"heartmend {__version__}")
        raise typer.Exit


@app.command()
def run(
    labels: Labels, out: Out, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    other: Other = "error", device: Device = "auto", workers: Workers = 0, preset: Preset = "mend",
    fast: Annotated[bool, typer.Option("--fast", help="Short for --preset fast.")] = False,
    config: ConfigFile = None, until: Annotated[str, typer.Option(help="Stop after this verb.")] = "fuse",
    resume: Resume = True,
) -> None:  # fmt: skip
    """Mend every label map in LABELS; OUT/labels holds the same files, mended, each on exactly its own grid.

    OUT/run holds what is needed to resume, explain and repeat it. A run that was cut off goes on where it was.
    Exit status: 0 all mended, 3 some cases refused (OUT/run/refused.json says why), 1 nothing could be done.
    """
    request = _request(labels, out, images, anatomy, structures, other, device, workers, until, resume)
    with _told():
        result = _watched(request, load_config("fast" if fast else preset, config))
        _say(result)
    if result.refused:
        raise typer.Exit(SOME_REFUSED)


def _verb(name: Verb, text: str) -> None:
    """One verb as a command of its own: the same run, stopped after it."""

    def command(
        labels: Labels, out: Out, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
        other: Other = "error", device: Device = "auto", workers: Workers = 0, preset: Preset = "mend",
        config: ConfigFile = None, resume: Resume = True,
    ) -> None:  # fmt: skip
        request = _request(labels, out, images, anatomy, structures, other, device, workers, name, resume)
        with _told():
            result = _watched(request, load_config(preset, config))
            _say(result)
        if result.refused:
            raise typer.Exit(SOME_REFUSED)

    command.__doc__ = text
    app.command(name)(command)


_verb("prepare", "Bring every case to the unit frame: ROI, resampling, stairs and slices mended.")
_verb("fit", "Stage 1: fit one implicit shape of each structure, shared by all cases, and one code for each case.")
_verb("refine", "Each case's masks from the fitted shapes, on the grid that the case came on.")


@app.command()
def fuse(
    labels: Labels, out: Out, images: Images = None, anatomy: AnatomyName = "heart", structures: Structures = "",
    other: Other = "error", device: Device = "auto", workers: Workers = 0, preset: Preset = "mend",
    config: ConfigFile = None, resume: Resume = True,
    case: Annotated[str, typer.Option("--explain", metavar="CASE", help="Then show what was changed in CASE.")] = "",
) -> None:  # fmt: skip
    """Stage 2: ten masks into one label map by priority, evidence and the rules of anatomy."""
    request = _request(labels, out, images, anatomy, structures, other, device, workers, "fuse", resume)
    with _told():
        result = _watched(request, load_config(preset, config))
        _say(result)
        if case:
            _explain(out, case)
    if result.refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def explain(run_folder: RunFolder, case: Annotated[str, typer.Argument(metavar="[CASE]")] = "") -> None:
    """Show what was changed in CASE: each rule, where and how much; without a CASE, a summary over all of them."""
    with _told():
        _explain(run_folder, case)


def _explain(run_folder: Path, case: str) -> None:
    from heartmend.data import Run
    from heartmend.rules import audit_from_json, summary_table
    from heartmend.rules import explain as as_text

    run = Run.at(run_folder)
    if not case:
        audits = [audit_from_json(p.read_text(encoding="utf-8")) for p in sorted(run.folder("fuse").glob("*.json"))]
        console.print(summary_table(audits))
        return
    path = run.case_path("fuse", case, ".json")
    if not path.is_file():
        raise HeartmendError(f"{path}: no audit of case {case!r} there; give the id of a mended case")
    console.print(as_text(audit_from_json(path.read_text(encoding="utf-8"))))


@app.command()
def render(
    run_folder: RunFolder, case: str, to: Annotated[Path, typer.Option(help="NIfTI file to write.")],
    resolution: Annotated[int, typer.Option(min=16, max=512, help="Voxels along each side of the ROI.")] = 128,
    probability: Annotated[str, typer.Option(metavar="STRUCTURE", help="Its probability, not the labels.")] = "",
) -> None:  # fmt: skip
    """Write what the fitted shape alone says of CASE at any resolution: a label map, or a structure's probability."""
    from heartmend.data import Run
    from heartmend.stages.refine import write_render

    with _told():
        write_render(Run.at(run_folder), case, to, resolution, probability)
        console.print(f"{to}")


@app.command()
def resize(
    labels: Labels, out: Folder, images: Images = None, anatomy: AnatomyName = "heart",
    resolution: Annotated[int, typer.Option(help="Voxels along each side.")] = 256, workers: Workers = 0,
) -> None:  # fmt: skip
    """Cut every case to its heart and resample label map and CT to RESOLUTION³ (nothing is mended)."""
    from heartmend.resize import resize_cohort

    with _told(), _bar() as bar:
        task = bar.add_task("resize", total=None, note="")
        refused = {}
        for case, error in resize_cohort(labels, out, images, load_anatomy(anatomy), resolution, workers):
            bar.update(task, advance=1, note=case)
            if error is not None:
                refused[case] = error
        for case, error in refused.items():
            console.print(f"[bold red]{case}[/]: {error}")
    if refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def score(
    truth: Annotated[Path, typer.Argument(help="Folder of true label maps.")],
    before: Annotated[Path, typer.Argument(help="Folder of the label maps before.")],
    after: Annotated[Path, typer.Argument(help="Folder of the mended label maps.")],
    anatomy: AnatomyName = "heart", workers: Workers = 0,
) -> None:  # fmt: skip
    """Score label maps before and after against truth: Dice, surface Dice at 1 mm, HD95, pieces, cases harmed."""
    from heartmend.scoring import score_folders

    with _told():
        console.print(score_folders(truth, before, after, load_anatomy(anatomy), workers))


@app.command()
def phantom(
    out: Folder, count: Annotated[int, typer.Option(min=1)] = 12, seed: int = 1,
    spacing_mm: Annotated[float, typer.Option(min=0.4, max=3.0)] = 0.9, workers: Workers = 0,
) -> None:  # fmt: skip
    """Make a cohort of phantom hearts: labels_true, labels_noisy (spoiled) and images (CT)."""
    from heartmend.phantom import write_cohort
    from heartmend.stages.workers import cores

    with _told():
        ids = write_cohort(out, count, seed, workers or cores(), spacing_mm)
        console.print(f"{len(ids)} hearts in {out}")


@app.command()
def demo(
    out: Out = Path("demo_out"), count: Annotated[int, typer.Option(min=3)] = 12, seed: int = 1,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Make phantom hearts, spoil them, mend them, and show before and after: a table here, pictures in OUT."""
    from heartmend.demo import draw_pictures
    from heartmend.phantom import write_cohort
    from heartmend.scoring import score_folders
    from heartmend.stages.workers import cores

    began = time.monotonic()
    with _told():
        anatomy = load_anatomy("heart")
        cohort = out / "cohort"
        console.print(f"Making {count} phantom hearts, spoiling them as networks do, with CT images ...")
        write_cohort(cohort, count, seed, cores(), spacing_mm=1.4)
        request = Request(labels=cohort / "labels_noisy", out=out / "mended", images=cohort / "images", device=device)
        result = _watched(request, load_config("fast"))
        console.print(score_folders(cohort / "labels_true", cohort / "labels_noisy", result.out / "labels", anatomy))
        for path in draw_pictures(cohort, result.out / "labels", out / "pictures", anatomy):
            console.print(f"picture: {path}")
        _say(result)
    console.print(f"Done in {time.monotonic() - began:.0f} s.")


class _Bars(Watcher):
    """Progress bars in the terminal, one for each verb."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def verb(self, name: str, total: int) -> None:
        self._task = self._bar.add_task(name, total=total, note="")

    def advanced(self, done: int, note: str = "") -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, note=note)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description:8}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), console=console,
    )  # fmt: skip


def _watched(request: Request, config: Config) -> Result:
    with _bar() as bar:
        return run_pipeline(request, config, _Bars(bar))


def _say(result: Result) -> None:
    for case, why in result.refused.items():
        console.print(f"[bold red]refused {case}[/]: {why}")
    console.print(f"{len(result.mended)} cases done, {len(result.refused)} refused: {result.out}")


@contextmanager
def _told() -> Iterator[None]:
    """Our own errors are one line for the user, not a trace."""
    try:
        yield
    except HeartmendError as error:
        console.print(f"[bold red]error[/]: {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error


def _request(
    labels: Path, out: Path, images: Path | None, anatomy: str, structures: str, other: str, device: str, workers: int,
    until: str, resume: bool,
) -> Request:  # fmt: skip
    names = tuple(name.strip() for name in structures.split(",") if name.strip())
    if other not in ("error", "keep"):
        raise typer.BadParameter("give error or keep", param_hint="--other")
    if until not in ("prepare", "fit", "refine", "fuse"):
        raise typer.BadParameter("give prepare, fit, refine or fuse", param_hint="--until")
    return Request(labels, out, images, anatomy, names, other, device, workers, until, resume)  # type: ignore[arg-type]
