"""Tests of the prior models that are part of Heartmend."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.models.model_file import save_heart_model
from heartmend.models.prior import built_in_priors, check_prior, load_built_in_prior, prior_heart
from support.models import two_balls

MAX_BYTES = 5_000_000


def test_the_prior_of_the_heart_is_small_and_has_ten_structures_with_known_places() -> None:
    assert sum(path.stat().st_size for path in built_in_priors(load_anatomy("heart"))) <= MAX_BYTES
    for model in load_built_in_prior("heart"):
        heads = model.shape.template.heads
        assert heads == tuple(load_anatomy("heart").select(without_kinds=("tube",)))
        table, axis = model.shape.template.distances_mm, np.linspace(-1, 1, model.shape.template.side)
        centre = {
            name: [float((table[..., at] > 0).sum(axis=tuple({0, 1, 2} - {a})) @ axis) for a in range(3)]
            / (table[..., at] > 0).sum()
            for at, name in enumerate(heads)
        }
        # Right, anterior, superior: the left heart is on the left, the atria behind the ventricles, the arch on top.
        assert centre["RA"][0] > centre["LA"][0] and centre["RV"][0] > centre["LV"][0]
        assert centre["LA"][1] < centre["LV"][1] and centre["RA"][1] < centre["RV"][1]
        assert centre["Aorta"][2] > centre["LV"][2] and centre["SVC"][2] > centre["RA"][2] > centre["IVC"][2]


def test_each_model_names_its_source_and_licence() -> None:
    hearts = [prior_heart(model) for model in load_built_in_prior("heart")]
    assert hearts == ["Visible Human Female, heart v1.2", "Visible Human Male, heart v1.2"]
    for model in load_built_in_prior("heart"):
        assert model.metadata["licence"].startswith("CC BY 4.0")
    text = (built_in_priors(load_anatomy("heart"))[0].parent / "README.md").read_text()
    assert "CC BY 4.0" in text and "HuBMAP CCF 3D Reference Object Library" in text


def test_an_anatomy_without_a_prior_has_none() -> None:
    assert load_built_in_prior("adrenal") == ()


def test_a_model_with_another_id_or_without_a_common_structure_is_no_prior(tmp_path: Path) -> None:
    heart, path = load_anatomy("heart"), tmp_path / "model.zip"
    with pytest.raises(BadInputError, match=r"model\.zip"):
        check_prior(path, heart)
    save_heart_model(path, two_balls())
    check_prior(path, heart)
    with pytest.raises(ConfigError, match="no structure of anatomy adrenal"):
        check_prior(path, load_anatomy("adrenal"))
    table = heart.model_dump()
    for structure in table["structures"]:
        structure["id"] = {3: 5, 5: 3}.get(structure["id"], structure["id"])
    save_heart_model(path, replace(two_balls(), anatomy=Anatomy.model_validate(table)))
    with pytest.raises(ConfigError, match="LV has the id 5 in the model and 3 in anatomy heart"):
        check_prior(path, heart)


def test_the_models_are_not_changed_by_a_reader() -> None:
    first = load_built_in_prior("heart")[0].shape.template.table.detach().clone()
    assert torch.equal(first, load_built_in_prior("heart")[0].shape.template.table)
