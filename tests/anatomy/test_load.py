"""Anatomy files."""

import logging
from pathlib import Path

import pytest

from heartmend.anatomy.load import load_anatomy, parse_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.errors import ConfigError

KNEE = """
name = "knee"
priority = ["Femur", "Tibia"]

[[structures]]
id = 1
name = "Femur"
aliases = ["thigh bone"]
colour = [10, 20, 30]
kind = "wall"
neighbours = ["Tibia"]

[[structures]]
id = 7
name = "Tibia"
colour = [40, 50, 60]
kind = "wall"
"""


def test_a_users_own_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "knee.toml"
    path.write_text(KNEE)
    knee = load_anatomy(path)
    assert knee == load_anatomy(str(path))
    assert knee.ids == (1, 7)
    assert knee.by_id(7).name == "Tibia"
    assert knee.by_name("Thigh-Bone").id == 1
    assert knee.are_neighbours("Tibia", "Femur")
    assert not knee.are_neighbours("Tibia", "Tibia")


def test_an_anatomy_survives_json() -> None:
    heart = load_anatomy("heart")
    assert Anatomy.model_validate_json(heart.model_dump_json()) == heart


def test_an_anatomy_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_anatomy("heart").name = "liver"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["liver", "nowhere/liver.toml"])
def test_the_error_for_an_unknown_anatomy_lists_the_built_in_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="no such anatomy; give one of adrenal, heart"):
        load_anatomy(name)


def test_the_error_for_an_unknown_structure_lists_the_known_ones() -> None:
    knee = parse_anatomy(KNEE, "knee.toml")
    with pytest.raises(ConfigError, match="no structure 'Patella'; it has Femur, Tibia"):
        knee.by_name("Patella")
    with pytest.raises(ConfigError, match="no structure with id 2; it has 1, 7"):
        knee.by_id(2)


def test_an_id_up_to_65535_is_a_value_in_files_with_an_id_in_memory() -> None:
    knee = parse_anatomy(KNEE.replace("id = 7", "id = 65535").replace("id = 1\n", "id = 850\n"), "knee.toml")
    assert knee.values == {850: 1, 65535: 2} and knee.ids == (1, 2)
    assert [s.value for s in knee.structures] == [850, 65535]
    # A small id stays, and no other structure gets it.
    knee = parse_anatomy(KNEE.replace("id = 7", "id = 255"), "knee.toml")
    assert knee.values == {1: 1, 255: 2}
    assert Anatomy.model_validate_json(knee.model_dump_json()) == knee


def test_an_id_in_files_is_used_once() -> None:
    with pytest.raises(ConfigError, match="id 300 is used 2 times"):
        parse_anatomy(KNEE.replace("id = 7", "id = 300").replace("id = 1\n", "id = 300\n"), "knee.toml")


def test_an_optional_structure_is_left_out_of_everything_that_names_it() -> None:
    text = KNEE.replace("id = 7", "id = 7\noptional = true")
    rule = '[[rules]]\nrule = "holes"\nstructures = ["Tibia"]\n[[rules]]\nrule = "speckle"\n'
    knee = parse_anatomy(text + rule, "knee.toml")
    assert knee.without_absent(["Tibia"]) is knee
    femur = knee.without_absent(["Femur"])
    assert femur.names == femur.priority == ("Femur",) and femur.structures[0].neighbours == ()
    # A rule for the missing structure alone must not become one for all structures.
    assert [rule.rule for rule in femur.rules] == ["speckle"]
    with pytest.raises(ConfigError, match="one must not be"):
        parse_anatomy(text.replace("id = 1\n", "id = 1\noptional = true\n"), "knee.toml")


def test_all_errors_are_reported_at_once_with_the_name_of_the_file() -> None:
    wrong = (
        KNEE.replace("[10, 20, 30]", "[10, 20, 300]")  # one
        .replace('["Tibia"]', '["Patella"]')  # two
        .replace("id = 7", "id = 7\ncolor = 1")  # three
        .replace('kind = "wall"\nneigh', 'kind = "bone"\nneigh')  # four
        .replace('["Femur", "Tibia"]', '["Femur", "Femur"]')  # five and six
        + "smooth = true\nmax_volume_change = [1.5, 2]"  # seven and eight
    )
    with pytest.raises(ConfigError) as error:
        parse_anatomy(wrong, "my knee.toml")
    text = str(error.value)
    assert text.startswith("my knee.toml: 8 errors:")
    for part in (
        "structures.Femur.colour.2", "Femur.neighbours names 'Patella'", "structures.Tibia.color:", "Femur.kind",
        "priority names 'Femur' 2 times", "priority lacks 'Tibia'", "Tibia.smooth", "Tibia.max_volume_change",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id = 7", "id = 1", "id 1 is used 2 times"),
        ("id = 7", "id = 0", "greater than 0"),
        ("id = 7", "id = 65536", "structures.Tibia.id: Input should be less than or equal to 65535"),
        ("id = 7", 'id = "7"', "valid integer"),
        ("id = 7", "id = true", "valid integer"),
        ('name = "Tibia"', 'name = "FEMUR"', "both called"),
        ('name = "Tibia"', 'name = "thigh_bone"', "both called"),
        ('name = "Tibia"', 'name = "../Tibia"', "pattern"),
        ('["Tibia"]', '["Femur"]', "names itself"),
        ("[[structures]]", "[[structure]]", "no [[structures]] table"),
        ('name = "knee"', "name = ", "not TOML"),
        ("id = 7", "id = 7\nmin_mm3 = nan", "min_mm3"),
        ("id = 7", 'id = 7\nneighbours = "Femur"', "valid tuple"),
    ],
)
def test_every_error_is_reported(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_anatomy(KNEE.replace(old, new), "knee.toml")
    assert message in str(error.value)


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_anatomy(tmp_path / "a.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_anatomy(tmp_path)


OLD_WORDS = """
[[rules]]
rule = "salt"

[[rules]]
rule = "pieces"
structures = ["Femur"]

[[rules]]
rule = "strays"
near = ["Femur"]
root = "Tibia"
"""


def test_a_file_with_old_words_is_loaded_with_a_warning_that_names_the_new_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = KNEE.replace("id = 7", 'id = 7\npieces = 2\nappearance = false\nmend_by = "surroundings"') + OLD_WORDS
    new = old
    for old_word, new_word in (
        ("pieces", "components"), ("appearance", "image_edges"), ("mend_by", "repair_method"),
        ("surroundings", "voxel_classifier"), ('"salt"', '"speckle"'), ('"strays"', '"detached_segments"'),
    ):  # fmt: skip
        new = new.replace(old_word, new_word)
    with caplog.at_level(logging.WARNING):
        assert parse_anatomy(new, "knee.toml") == parse_anatomy(new, "knee.toml")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert parse_anatomy(old, "knee.toml") == parse_anatomy(new, "knee.toml")
    assert all(record.getMessage().startswith("knee.toml: ") for record in caplog.records)
    for old_word, new_word in (
        ('"pieces" in [[structures]]', '"components"'), ('"appearance"', '"image_edges"'),
        ('"mend_by"', '"repair_method"'),
        ('repair_method = "surroundings"', 'repair_method = "voxel_classifier"'), ('rule = "salt"', 'rule = "speckle"'),
        ('rule = "pieces"', 'rule = "components"'), ('rule = "strays"', 'rule = "detached_segments"'),
    ):  # fmt: skip
        (line,) = (text for record in caplog.records if old_word in (text := record.getMessage()))
        assert f"is now {new_word}" in line
    assert len(caplog.records) == 7


def test_an_old_and_a_new_word_for_the_same_value_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"Tibia\.pieces"):
        parse_anatomy(KNEE.replace("id = 7", "id = 7\npieces = 2\ncomponents = 1"), "knee.toml")
