"""Settings: presets, files, deprecated keys, and errors that name the wrong key."""

from pathlib import Path

import pytest

from heartmend.errors import ConfigError
from heartmend.pipelines.config import DEPRECATED_KEYS, PRESETS, Config, load_config


def write_toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid_and_is_restored_from_json(preset: str) -> None:
    config = load_config(preset)
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_the_reference_preset_has_the_settings_of_the_reference_project() -> None:
    config = load_config("reference")
    (phase,) = config.fit.phases
    assert config.prepare.resolution == 128
    assert (config.fit.shape, config.fit.code_size, config.fit.cases_per_step, config.fit.gradient_accumulation) == (
        "decoder", 256, 1, 4,
    )  # fmt: skip
    assert phase.loss == "dice_focal"
    assert phase.band_shares == (0.5, 0.3, 0.1)
    assert 5e-4 <= phase.shape_lr <= phase.code_lr <= 2e-3


def test_a_file_changes_only_the_settings_that_it_contains(tmp_path: Path) -> None:
    config = load_config("fast", write_toml(tmp_path, "seed = 7\n[prepare]\nresolution = 64\n[fit]\npoints = 100\n"))
    fast = load_config("fast")
    assert (config.seed, config.prepare.resolution, config.fit.points) == (7, 64, 100)
    assert config.fit.phases == fast.fit.phases
    assert config.refine == fast.refine


def test_all_errors_of_a_file_are_reported_together(tmp_path: Path) -> None:
    path = write_toml(tmp_path, '[prepare]\nresolution = 7\n[fit]\ncolour = "red"\n[fit.phases]\n[fuze]\nmode = "x"\n')
    with pytest.raises(ConfigError) as caught:
        load_config("mend", path)
    for word in ("mine.toml", "prepare.resolution", "fit.colour", "fuze"):
        assert word in str(caught.value)


def test_an_unknown_key_of_a_phase_is_named(tmp_path: Path) -> None:
    path = write_toml(tmp_path, "[[fit.phases]]\nsteps = 3\ncode_lr = 0.1\nshape_lr = 0.1\nside = 16\nspeed = 2\n")
    with pytest.raises(ConfigError, match=r"fit\.phases\.0\.speed"):
        load_config("mend", path)


def test_a_missing_or_damaged_file_and_an_unknown_preset_raise_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml: cannot be read as TOML"):
        load_config("mend", write_toml(tmp_path, "seed = = 3"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config("mend", tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="unknown preset 'slow'; choose one of mend, fast, reference"):
        load_config("slow")


def test_deprecated_keys_are_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All of them: each table of the file has only old names."""
    phase = "steps = 3\ncode_rate = 0.1\nshape_rate = 0.2\npenalty = 0.3\nside = 16\ncontrols = 6\n"
    lists = ("fit.phases", "unify.phases", "unify.template_phases")
    path = write_toml(
        tmp_path,
        "[prepare]\nmend_faults = false\nimages = true\nwindow_hu = [0, 1]\n"
        "[fit]\naccumulate = 3\nsurroundings = {rounds = 5}\n"
        "[fuse]\nmend_tubes = false\nappearance = false\n" + "".join(f"[[{name}]]\n{phase}" for name in lists),
    )
    config = load_config("mend", path)
    assert config.prepare.repair_visible_errors is False
    assert (config.fit.gradient_accumulation, config.fit.voxel_classifier.rounds) == (3, 5)
    assert (config.fuse.repair_vessels, config.fuse.image_edges) == (False, False)
    for phases in (config.fit.phases, config.unify.phases, config.unify.template_phases):
        assert [(one.code_lr, one.shape_lr, one.regularisation) for one in phases] == [(0.1, 0.2, 0.3)]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == sum(map(len, DEPRECATED_KEYS.values()))
    assert f"{path}: fit.accumulate is deprecated and will be removed; use fit.gradient_accumulation" in warnings
    assert f"{path}: prepare.images is ignored: it has no effect any more; remove it" in warnings


def test_the_old_and_the_new_name_of_a_key_together_raise_an_error(tmp_path: Path) -> None:
    path = write_toml(tmp_path, "[fit]\naccumulate = 3\ngradient_accumulation = 3\n")
    with pytest.raises(ConfigError, match=r"fit\.accumulate is the old name of fit\.gradient_accumulation"):
        load_config("mend", path)
