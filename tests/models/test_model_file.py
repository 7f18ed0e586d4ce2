"""Model files: round trip, reproducible bytes, and errors for other files."""

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
from heartmend.models.heart_model import HeartModel, evaluate_labels
from heartmend.models.model_file import (
    DETAIL_STEP,
    FIELD_STEP,
    load_heart_model,
    round_model,
    round_template,
    save_heart_model,
)
from support.models import two_balls


def full() -> HeartModel:
    model = two_balls()
    return replace(
        model, thresholds={"LV": 0.4, "RV": 0.55}, absent={"b": ("RV",)}, calibres={"Coronary": Calibre(1.3, 0.2)},
        lowest_surface_noise_mm2={"LV": 0.02},
        metadata={"dice": {"LV": 0.99}},
    )  # fmt: skip


def dense_details(model: HeartModel) -> torch.Tensor:
    """(cases, nodes, channels): the features of every node, zero for closed ones."""
    detail, slot = model.codes.values["detail"], model.codes.values["slot"].long()
    return torch.stack([features[slots] for features, slots in zip(detail, slot, strict=True)])


def test_a_written_model_is_read_back(tmp_path: Path) -> None:
    model = full()
    save_heart_model(tmp_path / "model.zip", model)
    again = load_heart_model(tmp_path / "model.zip")
    assert again.codes.ids == model.codes.ids
    assert again.shape.settings() == model.shape.settings()
    assert (again.anatomy, again.thresholds, again.metadata) == (model.anatomy, model.thresholds, model.metadata)
    assert again.absent == {"b": ("RV",)}
    assert again.calibres == {"Coronary": Calibre(1.3, 0.2)}
    assert again.lowest_surface_noise_mm2 == {"LV": 0.02}
    assert all(again.frames[id] == model.frames[id] for id in model.frames)
    for name, step in (("field", FIELD_STEP), ("affine", 1e-6)):
        assert (again.codes.values[name] - model.codes.values[name]).abs().max() <= 0.5001 * step
    assert (dense_details(again) - dense_details(model)).abs().max() <= 0.5001 * DETAIL_STEP
    grid = model.frames["a"].grid
    assert (
        evaluate_labels(again, again.heart("c"), grid) != evaluate_labels(model, model.heart("c"), grid)
    ).mean() < 0.002


def test_rounding_equals_writing_and_reading(tmp_path: Path) -> None:
    model = full()
    save_heart_model(tmp_path / "model.zip", model)
    again, rounded = load_heart_model(tmp_path / "model.zip"), round_model(model)
    for name, code in rounded.codes.values.items():
        assert torch.equal(code, again.codes.values[name])
    save_heart_model(tmp_path / "twice.zip", again)
    assert (tmp_path / "twice.zip").read_bytes() == (tmp_path / "model.zip").read_bytes()


def test_codes_of_another_memory_order_are_written_correctly(tmp_path: Path) -> None:
    """The axes of a refined field have another order in memory."""
    model = full()
    codes = {name: code.detach() for name, code in model.codes.values.items()}
    turned = codes["field"].permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    assert not turned.is_contiguous()
    save_heart_model(tmp_path / "a.zip", replace(model, codes=CodeBook(model.codes.ids, {**codes, "field": turned})))
    save_heart_model(tmp_path / "b.zip", model)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_archive_contains_standard_files_and_no_pickle(tmp_path: Path) -> None:
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
    # Front matter of Hugging Face: YAML between two lines of dashes; each value is JSON, which is YAML.
    head, _, rest = card.removeprefix("---\n").partition("\n---\n")
    fields = {key: json.loads(value) for key, _, value in (line.partition(": ") for line in head.splitlines())}
    assert rest.startswith("# Model card: ") and fields["library_name"] == "heartmend"
    assert fields["pipeline_tag"] == "image-segmentation" and "cardiac-ct" in fields["tags"]
    (entry,) = fields["model-index"]
    (result,) = entry["results"]
    assert {m["value"] for m in result["metrics"]} >= {0.99} and result["task"] == {"type": "image-segmentation"}
    # Closed nodes are not written.
    assert len(tensors["codes.detail.values"]) < 0.2 * 4 * 6**3


def test_an_unknown_case_raises_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="does not contain case 'z'; it contains 4 cases: a, b, c, d"):
        full().heart("z")


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x05\x06" + bytes(18)])
def test_another_file_raises_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(BadInputError, match=r"x\.zip: is (not a heart model|empty)"):
        load_heart_model(tmp_path / "x.zip")


def test_a_damaged_model_raises_an_error(tmp_path: Path) -> None:
    save_heart_model(tmp_path / "model.zip", full())
    damaged = bytearray((tmp_path / "model.zip").read_bytes())
    damaged[200:260] = bytes(60)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with pytest.raises(BadInputError, match="is not a heart model"):
        load_heart_model(tmp_path / "damaged.zip")


@pytest.mark.parametrize(("version", "action"), [(1, "run `heartmend unify` again"), (7, "update Heartmend")])
def test_a_model_of_another_format_version_raises_an_error(tmp_path: Path, version: int, action: str) -> None:
    save_heart_model(tmp_path / "model.zip", full())
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["model.json"] = parts["model.json"].replace(b'"format_version": 2', b'"format_version": %d' % version)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(
        BadInputError, match=rf"other\.zip: has model format {version}, this version of Heartmend reads 2: {action}"
    ):
        load_heart_model(tmp_path / "other.zip")


def test_distances_near_the_surface_are_stored_to_a_sixteenth_of_a_millimetre() -> None:
    model = two_balls()
    before, after = (m.shape.template.table.detach() for m in (model, round_model(model)))
    near = before.abs() < 2
    assert 0 < (after - before)[near].abs().max() <= 1 / 16 + 1e-6
    assert (after - before)[before.abs() < 6].abs().max() <= 0.5 + 1e-6
    assert ((after > 0) == (before > 0))[before.abs() > 1 / 16].all()


def test_a_template_is_rounded_as_by_a_file() -> None:
    model, same = two_balls(), two_balls()
    codes = round_template(same.shape, same.codes)
    rounded = round_model(model)
    assert torch.equal(same.shape.template.table, rounded.shape.template.table)
    assert torch.equal(codes.values["field"], rounded.codes.values["field"])
    assert torch.equal(codes.values["detail"], model.codes.values["detail"])
