"""Settings: presets, files, and mistakes that are told by name."""

from pathlib import Path

import pytest

from heartmend.errors import ConfigError
from heartmend.pipelines.config import PRESETS, Config, load_config


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_goes_through_json(preset: str) -> None:
    config = load_config(preset)
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_the_reference_preset_is_the_reference() -> None:
    config = load_config("reference")
    (phase,) = config.fit.phases
    assert config.prepare.resolution == 128
    assert (config.fit.shape, config.fit.code_size, config.fit.cases_per_step, config.fit.gradient_accumulation) == (
        "decoder", 256, 1, 4,
    )  # fmt: skip
    assert phase.loss == "dice_focal"
    assert phase.band_shares == (0.5, 0.3, 0.1)
    assert 5e-4 <= phase.shape_lr <= phase.code_lr <= 2e-3


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    config = load_config("fast", written(tmp_path, "seed = 7\n[prepare]\nresolution = 64\n[fit]\npoints = 100\n"))
    fast = load_config("fast")
    assert (config.seed, config.prepare.resolution, config.fit.points) == (7, 64, 100)
    assert config.fit.phases == fast.fit.phases
    assert config.refine == fast.refine


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, '[prepare]\nresolution = 7\n[fit]\ncolour = "red"\n[fit.phases]\n[fuze]\nmode = "x"\n')
    with pytest.raises(ConfigError) as caught:
        load_config("mend", path)
    for word in ("mine.toml", "prepare.resolution", "fit.colour", "fuze"):
        assert word in str(caught.value)


def test_an_unknown_key_of_a_phase_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "[[fit.phases]]\nsteps = 3\ncode_rate = 0.1\nshape_rate = 0.1\nside = 16\nspeed = 2\n")
    with pytest.raises(ConfigError, match=r"fit\.phases\.0\.speed"):
        load_config("mend", path)


def test_no_toml_no_file_no_preset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml: cannot be read as TOML"):
        load_config("mend", written(tmp_path, "seed = = 3"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config("mend", tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="no preset is called 'slow'; there are mend, fast, reference"):
        load_config("slow")
