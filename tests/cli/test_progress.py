"""Progress in a terminal and in a log file."""

import io

from rich.console import Console

from heartmend.cli import progress
from heartmend.cli.progress import BAR_WIDTH, ProgressBars, ProgressLines, TerminalProgress
from heartmend.compute.progress import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_written_at_the_start_about_every_tenth_and_at_the_end() -> None:
    lines: list[str] = []
    clock = Clock()
    shown = ProgressLines(lines.append, clock=clock, with_time=False)
    shown.start("prepare", 200)
    for done in range(1, 201):
        clock.now += 1
        shown.advance(done, f"case {done}")
    shown.close()
    assert [line.split()[2] for line in lines] == [f"{share}%" for share in range(0, 101, 10)]
    assert lines[0].split() == ["prepare", "0/200", "0%"]
    assert lines[-1].split() == ["prepare", "200/200", "100%", "0:03:20", "case", "200"]
    assert max(map(len, lines)) <= 70


def test_a_slow_task_has_a_line_every_half_minute() -> None:
    lines: list[str] = []
    clock = Clock()
    shown = ProgressLines(lines.append, clock=clock)
    shown.start("fit", 100_000)
    for done in range(1, 1001):
        clock.now += 0.5
        shown.advance(done)
    # 500 seconds and the first line.
    assert len(lines) == 17


def test_a_quick_task_has_two_lines() -> None:
    lines: list[str] = []
    shown = ProgressLines(lines.append, clock=Clock())
    shown.start("check", 5)
    for done in range(1, 6):
        shown.advance(done)
    shown.close()
    assert len(lines) == 2


def test_a_task_that_ends_early_has_a_last_line() -> None:
    lines: list[str] = []
    shown = ProgressLines(lines.append, clock=Clock(), with_time=False)
    shown.start("fit", 10)
    shown.advance(3)
    shown.start("refine", 1)
    assert [line.split()[:2] for line in lines] == [["fit", "0/10"], ["fit", "3/10"], ["refine", "0/1"]]


def test_bars_fit_the_terminal_and_the_note_is_cut_first(monkeypatch: object) -> None:
    for width in (60, 80, 120):
        output = io.StringIO()
        bars = ProgressBars(Console(file=output, width=width, force_terminal=True, color_system=None))
        bars.start("voxel classifier", 12345)
        bars.advance(1234, "loss 0.1234, Dice 0.987, validation Dice 0.912, 12.3 GiB")
        table = bars.rendered()
        text = Console(width=width, color_system=None, file=io.StringIO(), record=True)
        text.print(table)
        (line,) = text.export_text().splitlines()
        assert len(line.rstrip()) <= width
        assert "voxel classifier" in line and "1234/12345" in line and "0:00:0" in line
        assert ("GiB" in line) == (width == 120)
        if width >= 80:
            assert "loss 0.12" in line
        bars.close()
    assert BAR_WIDTH < 20


def test_the_columns_do_not_move_when_the_note_or_the_times_change() -> None:
    starts = set()
    for done, note in ((0, ""), (1, "a"), (7, "a note that is longer than the line"), (10, "the last")):
        bars = ProgressBars(Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None))
        bars.start("fit", 10)
        bars.advance(done, note)
        text = Console(width=80, color_system=None, file=io.StringIO(), record=True)
        text.print(bars.rendered())
        (line,) = text.export_text().splitlines()
        starts.add((line.index(f"{done}/10") + len(f"{done}/10"), line.index("0:00:0")))
        assert len(line) <= 80 and note[:10] in line
        bars.close()
    assert len(starts) == 1


def test_it_implements_the_protocol(monkeypatch: object) -> None:
    lines: list[str] = []
    shown = TerminalProgress()
    assert isinstance(shown, Progress)
    shown._receivers.append(ProgressLines(lines.append, clock=Clock(), with_time=False))
    shown.start("crop", 2)
    shown.advance(1)
    shown.advance(2, "b")
    assert [line.split() for line in lines] == [["crop", "0/2", "0%"], ["crop", "2/2", "100%", "0:00:00", "b"]]


def test_nothing_is_shown_with_quiet(monkeypatch: object, capsys: object) -> None:
    from heartmend.cli.terminal import set_verbosity

    set_verbosity(40)
    try:
        with TerminalProgress() as shown:
            shown.start("fit", 1)
            shown.advance(1)
        assert capsys.readouterr() == ("", "")  # type: ignore[attr-defined]
    finally:
        set_verbosity(30)


def test_a_note_cannot_move_the_cursor(capsys: object) -> None:
    with TerminalProgress() as shown:
        shown.start("fit", 1)
        shown.advance(1, "case\x1b[2J\n[red]x[/red]")
    err = capsys.readouterr().err  # type: ignore[attr-defined]
    assert "\x1b" not in err and len(err.splitlines()) == 2 and "[red]x[/red]" in err
    assert progress.TASK_WIDTH == 16
