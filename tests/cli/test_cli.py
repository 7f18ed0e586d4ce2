"""The command line: exit statuses, and errors told in one line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from heartmend import __version__
from heartmend.cli.main import app
from support.cohorts import write_cohort


def heartmend(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    write_cohort(tmp_path, count=2)
    return tmp_path


def test_version_and_help() -> None:
    assert __version__ in heartmend("--version").stdout
    told = heartmend("--help")
    assert told.exit_code == 0
    for command in (
        "run",
        "check",
        "prepare",
        "fit",
        "refine",
        "fuse",
        "explain",
        "review",
        "export",
        "import",
        "unify",
        "render",
        "mesh",
        "embed",
        "hearts",
        "resize",
        "evaluate",
        "phantom",
        "demo",
        "audit",
        "report",
        "view",
    ):
        assert command in told.stdout
        assert heartmend(command, "--help").exit_code == 0


def test_a_run_with_a_damaged_file_mends_the_others_and_ends_with_status_3(cohort: Path) -> None:
    whole = (cohort / "labels" / "2.nii.gz").read_bytes()
    (cohort / "labels" / "2.nii.gz").write_bytes(whole[: len(whole) // 2])
    words = ("run", cohort / "labels", "-o", cohort / "out", "--config", cohort / "small.toml", "--workers", 1)
    told = heartmend(*words, "--device", "cpu")
    assert told.exit_code == 3
    assert "skipped 2" in told.stdout
    assert [p.name for p in (cohort / "out" / "labels").iterdir()] == ["1.nii.gz"]
    explained = heartmend("explain", cohort / "out", "1")
    assert explained.exit_code == 0 and explained.stdout.strip()
    assert heartmend("explain", cohort / "out", "9").exit_code == 1
    assert "rule" in heartmend("explain", cohort / "out").stdout


def test_a_verb_of_its_own(cohort: Path) -> None:
    told = heartmend(
        "prepare", cohort / "labels", "-o", cohort / "out", "--config", cohort / "small.toml", "--workers", 1
    )
    assert told.exit_code == 0, told.stdout
    assert (cohort / "out" / "run" / "prepare").is_dir()
    assert not (cohort / "out" / "run" / "fit").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--preset", "slow"), "no preset is called 'slow'"),
        (("--structures", "spleen"), "spleen"),
        (("--device", "toaster"), "toaster"),
        (("--anatomy", "no_such_anatomy"), "no_such_anatomy"),
        (("--config", "none.toml"), "none.toml"),
    ],
)
def test_our_errors_are_one_line_and_status_1(cohort: Path, words: tuple[str, ...], says: str) -> None:
    told = heartmend("run", cohort / "labels", "-o", cohort / "out", *words)
    assert told.exit_code == 1
    assert "error:" in told.stdout and says in told.stdout
    assert "Traceback" not in told.stdout


def test_an_unknown_key_of_the_settings_is_named(cohort: Path) -> None:
    (cohort / "small.toml").write_text("[fit]\ncolour = 3\n")
    told = heartmend("run", cohort / "labels", "-o", cohort / "out", "--config", cohort / "small.toml")
    assert told.exit_code == 1
    assert "fit.colour" in told.stdout


@pytest.mark.parametrize("words", [("--unknown-labels", "drop"), ("--until", "heal")])
def test_words_that_are_no_choice_are_refused(cohort: Path, words: tuple[str, str]) -> None:
    assert heartmend("run", cohort / "labels", "-o", cohort / "out", *words).exit_code == 2


def test_evaluate_tells_compares_and_goes_on(cohort: Path) -> None:
    words = ("evaluate", cohort / "labels", cohort / "labels", "--workers", 1)
    told = heartmend(*words, "-r", cohort / "labels", "-o", cohort / "numbers", "--tolerances", "1,4")
    assert told.exit_code == 0, told.stdout
    assert "Against the reference" in told.stdout and "2 cases compared, 0 skipped" in told.stdout
    assert "nsd_4mm" in (cohort / "numbers" / "cases.csv").read_text()
    (cohort / "labels" / "3.nii.gz").write_bytes(b"no volume")
    told = heartmend(*words, "--metrics", "dice,volume_ml")
    assert told.exit_code == 3
    assert "skipped 3" in told.stdout and "2 cases compared, 1 skipped" in told.stdout
    assert heartmend(*words, "-o", cohort / "labels" / "x").exit_code == 1
    assert heartmend(*words, "--metrics", "beauty").exit_code == 1
    assert heartmend(*words, "--tolerances", "1;2").exit_code == 2
