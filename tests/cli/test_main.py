"""The program: its table of commands, lazy imports, help, old names, verbosity and exit codes."""

import inspect
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from heartmend import __version__
from heartmend.cli import export, help, mesh, options
from heartmend.cli.commands import COMMANDS, GROUPS, RENAMED_COMMANDS, renamed_options
from heartmend.cli.main import app, load_command

HEAVY = (
    "torch", "numpy", "scipy", "matplotlib", "pydantic", "rich", "nibabel", "SimpleITK", "skimage", "starlette",
    "heartmend.io.label_maps", "heartmend.pipelines", "heartmend.cli.fit", "heartmend.cli.review",
)  # fmt: skip


def heartmend(*words: object, columns: int = 80) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": str(columns)})


def parameters(name: str) -> list[Any]:
    return list(load_command(name).params)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["rnu"], [], ["run", "--help"]])
def test_help_version_and_a_typo_import_nothing_heavy(words: list[str]) -> None:
    code = (
        "import json, sys\n"
        f"sys.argv = ['heartmend', *{words!r}]\n"
        "from heartmend.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert sorted(loaded & set(HEAVY)) == []


def test_the_help_of_a_command_imports_no_torch() -> None:
    code = (
        "import sys\nfrom heartmend.cli.commands import COMMANDS\nfrom heartmend.cli.main import load_command\n"
        "[load_command(name) for name in COMMANDS]\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_agrees_with_the_command(name: str) -> None:
    command, entry = load_command(name), COMMANDS[name]
    assert command.help.splitlines()[0] == entry.summary
    assert entry.group in GROUPS
    assert command.name == name


def test_the_help_lists_every_command_in_80_columns() -> None:
    shown = heartmend("--help")
    assert shown.exit_code == 0 and shown.stdout == heartmend().stdout == heartmend("-h").stdout
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{entry.summary[:20]}", shown.stdout, re.MULTILINE)
    for heading in (*GROUPS, "Options", "Examples", "Exit codes"):
        assert f"\n{heading}:\n" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("columns", [80, 60])
def test_the_help_of_a_command_has_groups_and_examples(name: str, columns: int) -> None:
    shown = heartmend(name, "--help", columns=columns)
    assert shown.exit_code == 0
    usage, examples = f"Usage: heartmend {name} [OPTIONS]", shown.stdout.rpartition("Examples:\n")[2]
    assert usage in shown.stdout
    assert examples and all(line.startswith(f"  heartmend {name}") for line in examples.splitlines())
    if columns == 80:
        assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_valid(name: str) -> None:
    for line in load_command(name).epilog.strip().splitlines():
        words = line.partition(" > ")[0].replace('"A. Radiologist"', "A").split()
        assert words[:2] == ["heartmend", name]
        with load_command(name).make_context(name, words[2:]):
            pass


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_a_group_and_a_placeholder(name: str) -> None:
    for param in parameters(name):
        assert param.help, param.name
        if param.param_type_name == "option":
            assert (param.rich_help_panel or "General") in help.OPTION_GROUPS
            assert param.is_flag or param.metavar, param.name


def test_one_option_has_one_spelling_and_one_meaning() -> None:
    old = {old for name in COMMANDS for old in renamed_options(name)}
    short: dict[str, set[str]] = {}
    for name in COMMANDS:
        for param in parameters(name):
            assert not old & {*param.opts, *param.secondary_opts}
            long = next((o for o in param.opts if o.startswith("--")), "")
            for opt in param.opts:
                if not opt.startswith("--") and param.param_type_name == "option":
                    short.setdefault(opt, set()).add(long)
    assert short == {"-o": {"--output"}, "-r": {"--reference"}, "-q": {"--quiet"}, "-v": {"--verbose"}}


def test_the_choices_are_those_of_the_program() -> None:
    from typing import get_args

    from heartmend.io.label_maps import UnknownLabels
    from heartmend.pipelines.config import PRESETS
    from heartmend.release.layouts import LAYOUTS
    from heartmend.review.plan import UNDECIDED

    assert get_args(options.Preset) == tuple(PRESETS)
    assert get_args(options.Unknown) == get_args(UnknownLabels)
    assert export.FORMATS == LAYOUTS and get_args(export.Undecided) == UNDECIDED
    assert mesh.FORMATS == ("stl", "vtp", "glb")


@pytest.mark.parametrize(("typo", "meant"), [("rnu", "run"), ("evalute", "evaluate"), ("heart", "population")])
def test_a_mistyped_command_is_answered_with_the_nearest(typo: str, meant: str) -> None:
    shown = heartmend(typo)
    assert shown.exit_code == 2
    assert f"Did you mean '{meant}'?" in shown.stderr


def test_a_mistyped_option_is_answered_with_the_nearest() -> None:
    shown = heartmend("check", "labels", "--unknown-label", "keep")
    assert shown.exit_code == 2 and "--unknown-labels" in shown.stderr


@pytest.mark.parametrize(("old", "new"), RENAMED_COMMANDS.items())
def test_old_commands_still_work_and_name_the_new_one(old: str, new: str) -> None:
    shown = heartmend(old, "--help")
    assert shown.exit_code == 0 and COMMANDS[new].summary in shown.stdout
    assert shown.stderr.splitlines() == [
        f"note: heartmend {old} is now called heartmend {new}; the old name will be removed in the next version"
    ]
    assert not re.search(rf"^  {old} ", heartmend("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("run", ["L", "--out", "O", "--until", "fuse", "--other=keep"],
         {"output": "O", "stop_after": "fuse", "unknown_labels": "keep"}),
        ("check", ["L", "--out", "O", "--to", "x.json"], {"run_folder": "O", "output": "x.json"}),
        ("screen", ["L", "--out", "O", "--to", "T"], {"run_folder": "O", "output": "T"}),
        ("render", ["M", "1", "--to", "x.nii.gz", "--like", "c.nii"],
         {"output": "x.nii.gz", "reference_image": "c.nii"}),
        ("mesh", ["M", "1", "--out", "O", "--format", "glb"], {"output": "O", "formats": "glb"}),
        ("view", ["O", "1", "--structure", "LA", "--structure", "LV"], {"structures": ["LA", "LV"]}),
        ("export", ["O", "--to", "D"], {"output": "D"}),
        ("report", ["O", "--to", "D"], {"output": "D"}),
        ("evaluate", ["A", "B", "--out", "T"], {"output": "T"}),
        ("embed", ["M", "L", "--out", "O"], {"output": "O"}),
        ("population", ["M", "--out", "O"], {"output": "O"}),
        ("crop", ["L", "--out", "O"], {"output": "O"}),
        ("phantom", ["--out", "O"], {"output": "O"}),
    ],
)  # fmt: skip
def test_old_options_still_work_and_name_the_new_one(
    name: str, words: list[str], expected: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    with load_command(name).make_context(name, words) as context:
        found = {key: context.params[key] for key in expected}
    assert {
        k: [str(v) for v in value] if isinstance(value, list) else str(value) for k, value in found.items()
    } == expected
    old = [word.partition("=")[0] for word in words if word.startswith("--")]
    notes = capsys.readouterr().err.splitlines()
    assert [note.split()[1] for note in notes] == old
    for note, option in zip(notes, old, strict=True):
        assert f"{option} is now called {renamed_options(name)[option]};" in note


@pytest.mark.parametrize(
    "words",
    [
        ("run", "L", "-o", "O", "--unknown-labels", "drop"),
        ("run", "L", "-o", "O", "--stop-after", "heal"),
        ("run", "L", "-o", "O", "--preset", "slow"),
        ("screen", "L", "--preset", "slow"),
        ("export", "O", "-o", "D", "--undecided", "maybe"),
        ("export", "O", "-o", "D", "--formats", "nnunet,zip"),
        ("mesh", "M", "1", "-o", "O", "--formats", "obj"),
        ("run", "L"),
        ("run",),
    ],
)
def test_wrong_use_has_exit_code_2_and_names_the_choices(
    words: tuple[str, ...], tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = heartmend(*words)
    assert shown.exit_code == 2, shown.output
    assert "Error: " in shown.stderr and f"Try 'heartmend {words[0]} --help'" in shown.stderr
    assert not shown.stdout and not list(tmp_path.iterdir())


def test_the_version_is_printed() -> None:
    assert heartmend("--version").stdout == heartmend("-V").stdout == f"heartmend {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(shell: str) -> None:
    def completed(line: str, word: str) -> str:
        env = os.environ | {
            "_HEARTMEND_COMPLETE": f"complete_{shell}", "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - (word != "")),
            "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }  # fmt: skip
        return subprocess.run([sys.executable, "-m", "heartmend"], env=env, capture_output=True, text=True).stdout

    commands = completed("heartmend re", "re")
    assert all(name in commands for name in ("refine", "review", "render", "report")) and "phantom" not in commands
    assert "--stop-after" in completed("heartmend run --st", "--st")


def test_quiet_and_verbose_go_before_or_after_the_command(tmp_path: Any) -> None:
    for words in (("-q", "explain", tmp_path), ("explain", tmp_path, "--quiet"), ("explain", "-v", tmp_path)):
        shown = heartmend(*words)
        assert shown.exit_code == 1 and shown.stdout == "" and shown.stderr.startswith("error: ")
        assert len(shown.stderr.splitlines()) == 1


def test_the_functions_are_the_public_names_of_the_modules() -> None:
    for name in COMMANDS:
        function = load_command(name).callback
        assert inspect.isfunction(inspect.unwrap(function)), name
    assert isinstance(app, typer.Typer)
