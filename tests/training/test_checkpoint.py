"""Damaged and hostile files of a fit: each is one short RunError, before anything large is allocated."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from heartmend.errors import RunError
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.models.shapes import spec_of, weight_specs
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape
from heartmend.training.checkpoint import load_fit, load_shape_and_codes, read_metadata, save_fit, save_model
from heartmend.training.loop import Fit, Position
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase
from support.hearts import HEADS, samples_of, small_heart

Metadata = dict[str, Any]
Arrays = dict[str, np.ndarray]
SHAPES = {
    "template": lambda: TemplateShape(("LV", "RV"), 6, 4),
    "decoder": lambda: DecoderShape(("LV", "RV"), 8),
    "unified": lambda: UnifiedShape(("LV", "RV"), {"heads": ["LV"], "side": 6, "controls": 4}, 4, 2, 4),
}
IDS = ["a", "b"]


def parts_of(kind: str) -> tuple[Metadata, Arrays]:
    """Metadata and tensors of a small model, as a file contains them, without the digest."""
    torch.manual_seed(0)
    shape: Shape = SHAPES[kind]()
    tensors = {f"shape.{name}": value for name, value in shape.state_dict().items()}
    tensors |= {f"codes.{name}": value for name, value in shape.new_codes(len(IDS), 0).items()}
    metadata = {"shape": kind, "settings": shape.settings(), "ids": IDS}
    return metadata, {name: value.detach().numpy().copy() for name, value in tensors.items()}


def write(path: Path, metadata: object, arrays: Arrays) -> None:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    path.write_bytes(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, {"metadata": text}))


def error_of(path: Path) -> str:
    start = time.process_time()
    with pytest.raises(RunError) as caught:
        load_shape_and_codes(path)
    assert time.process_time() - start < 5
    message = str(caught.value)
    assert str(path) in message
    assert "; " in message, "it contains what to do"
    assert len(message) < 1000 and message.isprintable()
    return message


@pytest.mark.parametrize("kind", SHAPES)
def test_weights_are_described_without_memory_for_them(kind: str) -> None:
    settings_of_kind, shape = parts_of(kind)[0]["settings"], SHAPES[kind]()
    state = torch.get_rng_state()
    assert weight_specs(kind, settings_of_kind) == {name: spec_of(w) for name, w in shape.state_dict().items()}
    assert torch.equal(state, torch.get_rng_state()), "the draws of a fit stay the same"


@pytest.mark.parametrize("kind", SHAPES)
def test_a_model_without_a_digest_is_read(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "m.safetensors", *parts_of(kind))
    shape, codes = load_shape_and_codes(tmp_path / "m.safetensors")
    assert shape.kind == kind
    assert codes.ids == ("a", "b")
    save_model(tmp_path / "again.safetensors", shape, codes, dice=0.5)
    assert read_metadata(tmp_path / "again.safetensors")["dice"] == 0.5


def set_(name: str, value: object) -> Callable[[Metadata, Arrays], object]:
    def change(metadata: Metadata, arrays: Arrays) -> None:
        *parents, last = name.split(".")
        inner: Any = metadata
        for key in parents:
            inner = inner[key]
        inner[last] = value

    return change


def number(name: str, value: float) -> Callable[[Metadata, Arrays], object]:
    def change(metadata: Metadata, arrays: Arrays) -> None:
        arrays[name].reshape(-1)[-1] = value

    return change


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Metadata, Arrays], object]:
    return lambda metadata, arrays: arrays.update({name: change(arrays[name])})


WRONG = ("x", -1, 0, 0.5, True, None, [], {}, 10**6, 2**62)
HOSTILE: dict[str, tuple[str, Callable[[Metadata, Arrays], object]]] = {
    **{f"template {key} {value!r}": ("template", set_(f"settings.{key}", value))
       for key in ("side", "controls", "heads") for value in WRONG},
    **{f"decoder code_size {value!r}": ("decoder", set_("settings.code_size", value)) for value in WRONG},
    **{f"unified {key} {value!r}": ("unified", set_(f"settings.{key}", value))
       for key in ("side", "channels", "width", "template") for value in (*WRONG, 40_000)},
    **{f"kind {value!r}": ("template", set_("shape", value)) for value in (*WRONG, "decoder", "unified")},
    **{f"settings {value!r}": ("template", set_("settings", value)) for value in WRONG},
    **{f"ids {value!r:.30}": ("template", set_("ids", value))
       for value in (*WRONG, ["a"], ["a", "a"], ["../a", "b"], ["/a", "b"], [1, 2], [["a"], "b"], ["a", "b", "c"])},
    **{f"Dice {value!r}": ("template", set_("dice", value)) for value in ("x", [], {}, None)},
    **{f"digest {value!r}": ("template", set_("digest", value)) for value in ("x", 1, [])},
    **{f"{name} {value}": (kind, number(name, value))
       for kind, name in (("template", "shape.table"), ("template", "codes.field"), ("decoder", "shape.seed.weight"),
                          ("decoder", "codes.latent"), ("unified", "codes.detail"), ("unified", "shape.net.0.bias"))
       for value in (float("nan"), float("inf"))},
    "a slot that does not exist": ("unified", number("codes.slot", 10**6)),
    "a negative slot": ("unified", number("codes.slot", -1)),
    "no slots": ("unified", array("codes.detail", lambda a: a[:, :0])),
    "a table of one number": ("template", array("shape.table", lambda a: a[:1, :1])),
    "a code of one case": ("template", array("codes.affine", lambda a: a[:1])),
    "doubles": ("template", array("shape.table", lambda a: a.astype(np.float64))),
    "integers": ("template", array("shape.table", lambda a: a.astype(np.int32))),
    "a tensor too many": ("template", lambda m, a: a.update(extra=np.zeros(1, np.float32))),
    "a tensor too few": ("template", lambda m, a: a.pop("shape.table")),
    "an unknown setting": ("template", set_("settings.script", 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_an_error(tmp_path: Path, name: str) -> None:
    kind, change = HOSTILE[name]
    metadata, arrays = parts_of(kind)
    change(metadata, arrays)
    write(tmp_path / "m.safetensors", metadata, arrays)
    error_of(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{", '"x"', "NaN", '{"ids": NaN}', '{"ids": 1e999}', '{"ids": ' + "9" * 5000 + "}",
     "[" * 100_000 + "]" * 100_000, '{"a":' * 1000 + "1" + "}" * 1000, '{"ids": [], "ids": []}'],
)  # fmt: skip
def test_metadata_that_is_no_table_is_an_error(tmp_path: Path, text: str) -> None:
    write(tmp_path / "m.safetensors", text, parts_of("template")[1])
    assert "cannot be read as a checkpoint" in error_of(tmp_path / "m.safetensors")


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**22 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_a_wrong_length_is_an_error(tmp_path: Path, length: int) -> None:
    path = tmp_path / "m.safetensors"
    write(path, *parts_of("template"))
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    error_of(path)


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(RunError, match=path.name):
            load_shape_and_codes(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_an_error_or_a_working_model(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "m.safetensors"
    write(path, *parts_of("unified"))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 1500))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        shape, codes = load_shape_and_codes(path)
    except RunError:
        return
    assert shape(torch.zeros(1, 5, 3), codes.of(codes.ids[:1])).shape == (1, 5, len(shape.heads))


class Silent:
    """Observer of a fit."""

    def on_step(self, step: object) -> None: ...

    def on_checkpoint(self, fit: Fit) -> None: ...

    def on_memory_halved(self, points: int) -> None: ...


def small_fit() -> Fit:
    torch.manual_seed(0)
    shape = TemplateShape(tuple(HEADS), 6, 4)
    sampler = PointSampler([samples_of("a", small_heart(1), list(HEADS.values()))], torch.device("cpu"))
    return Fit(shape, CodeBook(["a"], shape.new_codes(1)), sampler, [Phase(4, 0.01, 0.01)], points=64)


POSITIONS: tuple[object, ...] = (
    None, [], {}, "x", {"phase": 0}, {"phase": 0, "step": 0, "points": 0}, {"phase": -1, "step": 0, "points": 400},
    {"phase": 9, "step": 0, "points": 400}, {"phase": 0, "step": 10**9, "points": 400},
    {"phase": 0, "step": -1, "points": 400}, {"phase": 0.5, "step": 0, "points": 400},
    {"phase": True, "step": 0, "points": 400}, {"phase": 0, "step": 0, "points": 10**12},
    {"phase": 0, "step": 0, "points": 400, "x": 1}, {"phase": "0", "step": 0, "points": 400},
)  # fmt: skip


def stored_fit(path: Path) -> tuple[Metadata, Arrays]:
    """Metadata and tensors of the checkpoint of a fit."""
    from safetensors import safe_open

    fit = small_fit()
    fit.run(Silent())
    fit.position = Position(phase=0, step=3, points=64)
    save_fit(path, fit)
    with safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["metadata"])
        arrays = {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118  (not a dict)
    del metadata["digest"]
    return metadata, arrays


@pytest.mark.parametrize("position", POSITIONS)
def test_a_position_beyond_the_phases_is_an_error(tmp_path: Path, position: object) -> None:
    path = tmp_path / "fit.safetensors"
    metadata, arrays = stored_fit(path)
    write(path, {**metadata, "position": position}, arrays)
    with pytest.raises(RunError, match=r"fit\.safetensors: .*position.*delete it"):
        load_fit(path, small_fit())


def test_hostile_tensors_of_a_checkpoint_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "fit.safetensors"
    metadata, arrays = stored_fit(path)
    write(path, metadata, arrays)
    load_fit(path, small_fit())
    for name, values in arrays.items():
        changes = [values.reshape(-1)[:0], values[None], values.astype(np.float64)]
        if values.dtype.kind == "f":
            changes += [np.full_like(values, np.nan), np.full_like(values, np.inf)]
        for changed in changes:
            write(path, metadata, {**arrays, name: changed})
            with pytest.raises(RunError, match=r"fit\.safetensors: "):
                load_fit(path, small_fit())
    for change in ({**arrays, "extra": np.zeros(2, np.float32)}, dict(list(arrays.items())[1:])):
        write(path, metadata, change)
        with pytest.raises(RunError, match=r"fit\.safetensors: "):
            load_fit(path, small_fit())
