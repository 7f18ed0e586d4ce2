"""The commands on a small data set: exit codes, results, messages, JSON and log file."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from heartmend.cli.main import app, load_command
from support.cohorts import write_cohort


def heartmend(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    write_cohort(tmp_path, count=2)
    return tmp_path


@pytest.fixture
def words(cohort: Path) -> tuple[object, ...]:
    return (
        cohort / "labels",
        "-o",
        cohort / "out",
        "--config",
        cohort / "small.toml",
        "--workers",
        1,
        "--device",
        "cpu",
    )


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_run_skips_a_damaged_file_and_ends_with_exit_code_3(cohort: Path, words: tuple[object, ...]) -> None:
    cut_off(cohort / "labels" / "2.nii.gz")
    done = heartmend("run", *words, "--stop-after", "fuse")
    assert done.exit_code == 3, done.output
    assert done.stdout == f"1 case repaired, 1 skipped: {cohort / 'out'}\n"
    assert len(re.findall("^skipped: case 2: .*2.nii.gz: ", done.stderr, re.MULTILINE)) == 1
    assert "warning: case 2" not in done.stderr
    assert [p.name for p in (cohort / "out" / "labels").iterdir()] == ["1.nii.gz"]
    log = (cohort / "out" / "run" / "heartmend.log").read_text()
    assert re.search("WARNING case 2 is skipped: ", log) and re.search("INFO    fuse +1/1  100%", log)
    assert re.search("INFO    1 case repaired, 1 skipped: ", log)

    explained = heartmend("explain", cohort / "out", "1")
    assert explained.exit_code == 0 and explained.stdout.strip()
    assert heartmend("explain", cohort / "out", "9").exit_code == 1
    found = json.loads(heartmend("explain", cohort / "out", "1", "--json").stdout)
    rank = {"warning": 0, "review": 1, "info": 2}
    order = [(rank[change["severity"]], -change["volume_mm3"]) for change in found["changes"]]
    assert found["case"] == "1" and order and order == sorted(order)
    assert json.loads(heartmend("explain", cohort / "out", "--json").stdout) == [found]
    everything = heartmend("explain", cohort / "out", "1", "--all").stdout
    assert everything.startswith(f"1: {len(order)} change") and "small" not in everything
    assert "rule" in heartmend("explain", cohort / "out").stdout


def test_a_stage_does_not_run_later_stages(cohort: Path, words: tuple[object, ...]) -> None:
    done = heartmend("prepare", *words)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"2 cases prepared, 0 skipped: {cohort / 'out'}\n"
    assert (cohort / "out" / "run" / "prepare").is_dir()
    assert not (cohort / "out" / "run" / "fit").exists()
    assert done.stderr.startswith(
        "2 cases, 10 structures + 2 optional, labels alone; cpu, 1 process\nabout 30 s up to "
    )
    lines = [line.split() for line in done.stderr.splitlines()[2:] if "prepare" in line]
    assert lines[0][1:4] == ["prepare", "0/2", "0%"] and lines[-1][1:4] == ["prepare", "2/2", "100%"]

    quiet = heartmend("--quiet", "prepare", *words)
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    assert (cohort / "out" / "run" / "heartmend.log").read_text().count(" heartmend ") == 2


def test_the_log_file_never_makes_a_run_folder(cohort: Path) -> None:
    (cohort / "full").mkdir()
    (cohort / "full" / "notes.txt").write_text("mine")
    for out in (cohort / "labels" / "out", cohort / "full"):
        assert heartmend("prepare", cohort / "labels", "-o", out).exit_code == 1
    assert [p.name for p in (cohort / "full").iterdir()] == ["notes.txt"]
    assert not (cohort / "labels" / "out").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--structures", "spleen"), "spleen"),
        (("--device", "toaster"), "toaster"),
        (("--anatomy", "no_such_anatomy"), "no_such_anatomy"),
        (("--config", "none.toml"), "none.toml"),
    ],
)
def test_an_error_is_one_line_with_exit_code_1(cohort: Path, words: tuple[str, ...], text: str) -> None:
    done = heartmend("run", cohort / "labels", "-o", cohort / "out", *words)
    assert done.exit_code == 1 and not done.stdout
    assert done.stderr.startswith("error: ") and text in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_unknown_setting_is_named(cohort: Path) -> None:
    (cohort / "small.toml").write_text("[fit]\ncolour = 3\n")
    done = heartmend("run", cohort / "labels", "-o", cohort / "out", "--config", cohort / "small.toml")
    assert done.exit_code == 1 and "fit.colour" in done.stderr


def test_evaluate_compares_all_readable_cases(cohort: Path) -> None:
    words = ("evaluate", cohort / "labels", cohort / "labels", "--workers", 1)
    done = heartmend(*words, "-r", cohort / "labels", "-o", cohort / "numbers", "--tolerances", "1,4")
    assert done.exit_code == 0, done.output
    assert "eference" in done.stdout and "2 cases compared, 0 skipped" in done.stdout
    assert "nsd_4mm" in (cohort / "numbers" / "cases.csv").read_text()
    (cohort / "labels" / "3.nii.gz").write_bytes(b"no volume")
    done = heartmend(*words, "--metrics", "dice,volume_ml")
    assert done.exit_code == 3
    assert "skipped: case 3: " in done.stderr and "2 cases compared, 1 skipped" in done.stdout
    assert heartmend(*words, "-o", cohort / "labels" / "x").exit_code == 1
    assert heartmend(*words, "--metrics", "beauty").exit_code == 1
    assert heartmend(*words, "--tolerances", "1;2").exit_code == 2


def test_json_is_all_that_is_on_stdout(cohort: Path) -> None:
    cut_off(cohort / "labels" / "2.nii.gz")
    labels = cohort / "labels"
    checked = heartmend("check", labels, "--json", "--workers", 1, "-o", cohort / "check.json")
    found = json.loads(checked.stdout)
    assert checked.exit_code == 3 and [case["id"] for case in found["cases"]] == ["1", "2"]
    assert json.loads((cohort / "check.json").read_text()) == found

    screened = heartmend("screen", labels, "--quick", "--json", "--workers", 1, "-o", cohort / "tables")
    assert screened.exit_code == 3 and list(json.loads(screened.stdout)["skipped"]) == ["2"]
    assert "skipped: case 2: " in screened.stderr and (cohort / "tables" / "structures.csv").is_file()

    evaluated = heartmend("evaluate", labels, labels, "--json", "--workers", 1, "-o", cohort / "numbers")
    found = json.loads(evaluated.stdout)
    assert evaluated.exit_code == 3 and list(found["skipped"]) == ["2"] and found["cases"]
    assert json.loads((cohort / "numbers" / "evaluation.json").read_text()) == found


def test_check_writes_json_files_only(cohort: Path) -> None:
    for output in (cohort / "out", cohort / "labels" / "x.json", cohort):
        done = heartmend("check", cohort / "labels", "-o", output, "--workers", 1)
        assert done.exit_code == 1 and "--output" in done.stderr
    assert not (cohort / "out").exists()


def test_crop_writes_cubes(cohort: Path) -> None:
    cut_off(cohort / "labels" / "2.nii.gz")
    done = heartmend("crop", cohort / "labels", "-o", cohort / "cubes", "--resolution", 16, "--workers", 1)
    assert done.exit_code == 3 and "skipped: case 2: " in done.stderr
    assert done.stdout == f"1 case cropped, 1 skipped: {cohort / 'cubes'}\n"
    assert [p.name for p in (cohort / "cubes" / "labels").iterdir()] == ["1.nii.gz"]


def test_phantom_writes_a_cohort(tmp_path: Path) -> None:
    done = heartmend("phantom", "-o", tmp_path, "--count", 1, "--spacing-mm", 3, "--workers", 1)
    assert done.exit_code == 0 and done.stdout == f"1 phantom heart: {tmp_path}\n"
    assert {p.name for p in tmp_path.iterdir()} == {"cases.csv", "images", "labels_noisy", "labels_true"}


READS_LABEL_MAPS = ["check", "run", "prepare", "fit", "refine", "fuse", "unify", "embed", "screen", "evaluate", "crop"]


@pytest.mark.parametrize("command", READS_LABEL_MAPS)
def test_every_command_that_reads_label_maps_takes_the_meaning_of_their_values(command: str) -> None:
    text = heartmend(command, "--help").output
    assert "--ids" in text and "--preset-ids" in text


@pytest.mark.parametrize("command", ["prepare", "fit", "refine", "correct", "fuse", "unify"])
def test_a_stage_has_the_options_of_the_stages_before_it(command: str) -> None:
    """Otherwise it would repeat them with other settings: `fuse` after `correct --trusted` without the trusted maps."""
    own = {name for param in load_command(command).params for name in param.opts}
    whole = {name for param in load_command("run").params for name in param.opts} - {"--stop-after", "--fast"}
    written = {"--uncertainty", "--segments"}
    assert whole - own == (set() if command in ("fuse", "unify") else written)
