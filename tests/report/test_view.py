"""Tests of the pictures of one case."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from heartmend.cli.main import app
from heartmend.errors import BadInputError, ConfigError
from heartmend.report.pictures import write_view
from heartmend.run_folder.finished import FinishedRun


def test_the_default_is_the_largest_change_and_the_surfaces(finished_out: Path, tmp_path: Path) -> None:
    paths = write_view(FinishedRun.open(finished_out), "1", tmp_path)
    assert [p.name for p in paths] == ["1_change.png", "1_surface.png"]
    picture = imread(paths[1])
    # Pixels in the colour of the LA, lit or not: red over blue over green.
    red, green, blue = (picture[..., k] for k in range(3))
    assert ((red > blue + 0.1) & (blue > green + 0.03)).mean() > 0.01


def test_planes_through_given_positions(finished_out: Path, tmp_path: Path) -> None:
    finished = FinishedRun.open(finished_out)
    grid = finished.before(finished.cohort["2"]).grid
    point = grid.index_to_world(np.array([[12.0, 20.0, 11.0]]))[0]
    paths = write_view(finished, "2", tmp_path, voxels=[(12, 20, 11), (3, 4, 5)], points_mm=[point], structures=["LV"])
    assert [p.name for p in paths] == ["2_12_20_11.png", "2_3_4_5.png", "2_12_20_11.png", "2_LV.png", "2_surface.png"]
    first, second = (imread(tmp_path / name) for name in ("2_12_20_11.png", "2_3_4_5.png"))
    assert first.shape != second.shape or np.abs(first - second).mean() > 0.01


def test_an_impossible_view_is_an_error(finished_out: Path, tmp_path: Path) -> None:
    finished = FinishedRun.open(finished_out)
    with pytest.raises(BadInputError, match="voxel 12, 20, 99 is outside case 2, which has 34 x 36 x 30 voxels"):
        write_view(finished, "2", tmp_path, voxels=[(12, 20, 99)])
    with pytest.raises(ConfigError, match="PA of case 2 is unchanged"):
        write_view(finished, "2", tmp_path, structures=["PA"])
    with pytest.raises(BadInputError, match="no case 'x'"):
        write_view(finished, "x", tmp_path)
    assert not list(tmp_path.iterdir())


def heartmend(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


def test_the_commands_view_and_screen(finished_out: Path, tmp_path: Path) -> None:
    status, text = heartmend("view", finished_out, "1", "--output", tmp_path, "--voxel", "10,12,9")
    assert status == 0 and (tmp_path / "1_10_12_9.png").is_file(), text
    assert heartmend("view", finished_out, "1", "--voxel", "1,2")[0] == 2
    assert heartmend("view", finished_out, "1", "--at", "a,b,c")[0] == 2
    assert heartmend("view", finished_out, "nobody")[0] == 1
    status, text = heartmend("screen", finished_out, "--quick", "--output", tmp_path / "quality", "--workers", 1)
    assert status == 0 and "Cases by expected error" in text
    assert {p.name for p in (tmp_path / "quality").iterdir()} == {"structures.csv", "cases.csv", "ranking.json"}
