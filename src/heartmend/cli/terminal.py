"""What the commands share: their options, the terminal, progress bars, and how an error is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from heartmend.errors import HeartmendError
from heartmend.io.file_names import shown

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
UnknownLabels = Annotated[str, typer.Option(help="Ids that the anatomy lacks: error, or keep them untouched.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Devices = Annotated[int, typer.Option(help="Devices of this machine that fit together, each with its share of cases.")]
Scheduler = Annotated[
    str, typer.Option(help="Dask cluster for what is done case by case: tcp://HOST:PORT, its scheduler file, or slurm.")
]
Workers = Annotated[int, typer.Option(help="Processes for what is done case by case; 0: one a core.")]
Preset = Annotated[str, typer.Option(help="mend (the default), fast, or reference (the reference project's settings).")]
ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="TOML file; one table for each verb.")]  # noqa: UP045
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on with what is in OUT.")]


def progress_bar() -> Progress:
    """Bars with counts and time left; each task has a `note` field."""
    return Progress(
        TextColumn("{task.description:8}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), console=console,
    )  # fmt: skip


def counting(bar: Progress, name: str) -> Callable[..., None]:
    """A new bar, and the function that moves it: how many are done, of how many, and what was done last."""
    task = bar.add_task(name, total=None, note="")

    def move(done: int, total: int, note: str = "") -> None:
        bar.update(task, completed=done, total=total, note=plain(note))

    return move


def plain(text: object) -> str:
    """A text as it is, whatever it holds: brackets are no markup, and nothing in it moves the cursor."""
    return escape(shown(str(text)))


@contextmanager
def told() -> Iterator[None]:
    """Our own errors are one line for the user, not a trace."""
    try:
        yield
    except HeartmendError as error:
        console.print(f"[bold red]error[/]: {plain(error)}", highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error
