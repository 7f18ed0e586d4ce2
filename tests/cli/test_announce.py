"""What is printed before a run starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from heartmend.cli.announce import about_time, announce, announcement
from heartmend.pipelines.estimate import RunEstimate
from heartmend.quality import disk_space

ESTIMATE = RunEstimate(20, 10, 2, False, "cpu", 2, 206.0, 260_000_000, False, "fuse")


def test_cases_structures_device_time_and_disk_are_named() -> None:
    assert announcement(ESTIMATE, 45_100_000_000) == [
        "20 cases, 10 structures + 2 optional, labels alone; cpu, 2 processes",
        "about 4 min up to fuse; 0.3 GB of disk (45 GB free)",
    ]


def test_every_line_fits_80_columns() -> None:
    for seconds in (1.0, 4e5, None):
        for continues in (False, True):
            for stage in ("prepare", "correct", "unify"):
                one = replace(
                    ESTIMATE, n_cases=100_000, device="cuda:1", processes=128,
                    seconds=seconds, continues=continues, last_stage=stage, bytes=2_300_000_000_000,
                )  # fmt: skip
                assert max(map(len, announcement(one, 10**13))) <= 80


def test_one_of_each_is_in_the_singular() -> None:
    one = replace(ESTIMATE, n_cases=1, n_structures=1, n_optional=0, processes=1)
    assert announcement(one, 10**9)[0] == "1 case, 1 structure, labels alone; cpu, 1 process"


def test_times_are_rounded_up_to_what_an_estimate_is_good_for() -> None:
    assert [about_time(s) for s in (3, 50, 100, 620, 3400, 3700)] == ["30 s", "1 min", "2 min", "10 min", "1 h", "1 h"]


def test_a_full_disk_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "free_bytes", lambda folder: 10**8)
    announce(ESTIMATE, tmp_path)
    out, err = capsys.readouterr()
    assert out == "" and "warning: " in err and "0.3 GB are needed, 0.1 GB are free" in err
    announce(replace(ESTIMATE, continues=True), tmp_path)
    assert "warning" not in capsys.readouterr().err
