"""A model as a file: what is written is read, the same always gives the same bytes, and what is no model is told."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load as load_tensors

from heartmend.anatomy.calibre import Calibre
from heartmend.errors import BadInputError, ConfigError
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel, labels_on
from heartmend.models.model_file import (
    DETAIL_STEP,
    FIELD_STEP,
    load_heart_model,
    rounded,
    rounded_template,
    save_heart_model,
)
from support.models import two_balls


def full() -> object:
    model = two_balls()
    return replace(
        model, thresholds={"LV": 0.4, "RV": 0.55}, absent={"b": ("RV",)}, calibres={"Coronary": Calibre(1.3, 0.2)},
        lowest_surface_noise_mm2={"LV": 0.02},
        about={"dice": {"LV": 0.99}},
    )  # fmt: skip


def everywhere(model: HeartModel) -> torch.Tensor:
    """(cases, nodes, channels): the details of every node, of closed ones zeros."""
    detail, slot = model.codes.values["detail"], model.codes.values["slot"].long()
    return torch.stack([told[slots] for told, slots in zip(detail, slot, strict=True)])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    model = full()
    save_heart_model(tmp_path / "model.zip", model)
    again = load_heart_model(tmp_path / "model.zip")
    assert again.codes.ids == model.codes.ids
    assert again.shape.settings() == model.shape.settings()
    assert (again.anatomy, again.thresholds, again.about) == (model.anatomy, model.thresholds, model.about)
    assert again.absent == {"b": ("RV",)}
    assert again.calibres == {"Coronary": Calibre(1.3, 0.2)}
    assert again.lowest_surface_noise_mm2 == {"LV": 0.02}
    assert all(again.frames[id] == model.frames[id] for id in model.frames)
    for name, step in (("field", FIELD_STEP), ("affine", 1e-6)):
        assert (again.codes.values[name] - model.codes.values[name]).abs().max() <= 0.5001 * step
    assert (everywhere(again) - everywhere(model)).abs().max() <= 0.5001 * DETAIL_STEP
    grid = model.frames["a"].grid
    assert (labels_on(again, again.heart("c"), grid) != labels_on(model, model.heart("c"), grid)).mean() < 0.002


def test_to_round_is_to_write_and_read(tmp_path: Path) -> None:
    model = full()
    save_heart_model(tmp_path / "model.zip", model)
    again, short = load_heart_model(tmp_path / "model.zip"), rounded(model)
    for name, code in short.codes.values.items():
        assert torch.equal(code, again.codes.values[name])
    save_heart_model(tmp_path / "twice.zip", again)
    assert (tmp_path / "twice.zip").read_bytes() == (tmp_path / "model.zip").read_bytes()


def test_codes_that_lie_otherwise_in_memory_are_written_as_they_are(tmp_path: Path) -> None:
    """A field that was given more control points comes with its axes in another order in memory."""
    model = full()
    codes = {name: code.detach() for name, code in model.codes.values.items()}
    turned = codes["field"].permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    assert not turned.is_contiguous()
    save_heart_model(tmp_path / "a.zip", replace(model, codes=CodeBook(model.codes.ids, {**codes, "field": turned})))
    save_heart_model(tmp_path / "b.zip", model)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_it_holds_standard_files_and_no_pickle(tmp_path: Path) -> None:
    save_heart_model(tmp_path / "model.zip", full())
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert archive.namelist() == ["model.safetensors", "model.json", "MODEL_CARD.md"]
        tensors = load_tensors(archive.read("model.safetensors"))
        table = json.loads(archive.read("model.json"))
        card = archive.read("MODEL_CARD.md").decode()
    assert tensors["codes.affine"].shape == (4, 3, 4)
    assert table["ids"] == ["a", "b", "c", "d"]
    assert table["thresholds"] == {"LV": 0.4, "RV": 0.55}
    assert "| 3 | LV | 0.40 | 0.990 |" in card
    # Closed nodes are not written.
    assert len(tensors["codes.detail.values"]) < 0.2 * 4 * 6**3


def test_an_unknown_case_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="holds no case 'z'; it has 4: a, b, c, d"):
        full().heart("z")


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_model_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(BadInputError, match=r"x\.zip: is no heart model"):
        load_heart_model(tmp_path / "x.zip")


def test_a_damaged_model_and_one_of_another_version_are_told(tmp_path: Path) -> None:
    save_heart_model(tmp_path / "model.zip", full())
    whole = (tmp_path / "model.zip").read_bytes()
    corrupt_mask = bytearray(whole)
    corrupt_mask[200:260] = bytes(60)
    (tmp_path / "corrupt_mask.zip").write_bytes(corrupt_mask)
    with pytest.raises(BadInputError, match="no heart model"):
        load_heart_model(tmp_path / "corrupt_mask.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["model.json"] = parts["model.json"].replace(b'"format_version": 1', b'"format_version": 7')
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(BadInputError, match="heartmend-model 7, this version reads heartmend-model 1"):
        load_heart_model(tmp_path / "new.zip")


def test_distances_are_kept_to_a_sixteenth_of_a_millimetre_about_the_surface() -> None:
    model = two_balls()
    was, now = (m.shape.template.table.detach() for m in (model, rounded(model)))
    near = was.abs() < 2
    assert 0 < (now - was)[near].abs().max() <= 1 / 16 + 1e-6
    assert (now - was)[was.abs() < 6].abs().max() <= 0.5 + 1e-6
    assert ((now > 0) == (was > 0))[was.abs() > 1 / 16].all()


def test_a_template_is_rounded_as_a_file_would() -> None:
    model, same = two_balls(), two_balls()
    codes = rounded_template(same.shape, same.codes)
    short = rounded(model)
    assert torch.equal(same.shape.template.table, short.shape.template.table)
    assert torch.equal(codes.values["field"], short.codes.values["field"])
    assert torch.equal(codes.values["detail"], model.codes.values["detail"])
