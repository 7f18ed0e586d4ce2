"""Damaged and hostile model files: each is one short BadInputError, soon and without much memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartmend.errors import BadInputError
from heartmend.io.mesh_files import write_meshes
from heartmend.models.heart_model import evaluate_labels
from heartmend.models.model_file import TABLE, TENSORS, load_heart_model
from support.hostile_models import HOSTILE, pack, valid_parts, with_array, with_header_text, with_json
from support.models import two_balls

MAX_SECONDS = 5.0
MAX_MEMORY_MIB = 500


def error_of(path: Path) -> str:
    """Load a model that must be refused; returns the message."""
    with pytest.raises(BadInputError) as caught:
        load_heart_model(path)
    return str(caught.value)


def test_the_model_that_the_hostile_ones_are_made_of_is_valid(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(pack(valid_parts()))
    assert load_heart_model(tmp_path / "m.zip").codes.ids == ("a", "b", "c", "d")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_an_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.zip").write_bytes(HOSTILE[name]())
    start = time.process_time()
    message = error_of(tmp_path / "m.zip")
    assert time.process_time() - start < MAX_SECONDS
    assert message.startswith(f"{tmp_path / 'm.zip'}: ")
    assert ";" in message or "has model format" in message, "it contains what to do"
    assert len(message.splitlines()) == 1
    assert len(message) < 1500
    assert message.isprintable()


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.zip")
    for name, reason in (("fifo.zip", "pipe"), ("none.zip", "missing"), (".", "folder")):
        assert reason in error_of(tmp_path / name)
    assert "device" in error_of(Path("/dev/zero"))


# The peak of this process alone: ru_maxrss contains that of the process which started it.
MEASURE = """
import re, sys
from pathlib import Path
from heartmend.errors import BadInputError
from heartmend.models.model_file import load_heart_model
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        load_heart_model(path)
    except BadInputError:
        peak_kib = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
        print(path.stem, int(peak_kib) // 1024)
"""
LARGE = [name for name in HOSTILE if any(word in name for word in ("bomb", "MB", "million", "40,000", "huge", "GB"))]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak memory is read from /proc")
def test_no_hostile_model_needs_much_memory(tmp_path: Path) -> None:
    for number, name in enumerate(LARGE):
        (tmp_path / f"{number:03}.zip").write_bytes(HOSTILE[name]())
    found = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    peaks = dict(line.split() for line in found.stdout.splitlines())
    assert len(peaks) == len(LARGE) > 10
    assert max(map(int, peaks.values())) < MAX_MEMORY_MIB, list(zip(LARGE, peaks.values(), strict=True))


def test_a_case_id_that_leads_out_of_the_folder_is_an_error(tmp_path: Path) -> None:
    anatomy = two_balls().anatomy
    for id in ("../../X", "/tmp/X", "a/b"):
        for kind in ("glb", "stl"):
            with pytest.raises(BadInputError, match="not safe as a file name"):
                write_meshes(tmp_path / "out", id, {}, anatomy, kind)
    with pytest.raises(BadInputError, match="not safe as a file name"):
        write_meshes(tmp_path / "out", "a", {"../LV": two_balls().mesh("a", 8.0)["LV"]}, anatomy, "stl")
    assert not (tmp_path / "out").exists()


def test_a_threshold_that_is_nan_is_an_error_that_names_the_value(tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(HOSTILE["JSON with NaN"]())
    assert "NaN" in error_of(tmp_path / "m.zip")
    (tmp_path / "m.zip").write_bytes(HOSTILE["width is 40,000"]())
    assert "shape.width: Input should be less than or equal to 1024, not 40000" in error_of(tmp_path / "m.zip")


# Hypothesis: any change of a valid file is an error, or a model that can be evaluated.

_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.integers(-3, 300), st.floats(), st.text(max_size=8),
    st.sampled_from(["LV", "RV", "a", "../x", "F16", "U8"]),
)  # fmt: skip
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the places of all values of a JSON value."""
    found = [path] if path else []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


def mutate(data: st.DataObject, value: Any) -> Any:
    """Replace, remove or repeat some values of a JSON value."""
    for _ in range(data.draw(st.integers(1, 3))):
        if not (known := places(value)):
            return value
        *parents, last = data.draw(st.sampled_from(known))
        inner = value
        for key in parents:
            inner = inner[key]
        action = data.draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if action == "remove":
            del inner[last]
        elif action == "add" and isinstance(inner, dict):
            inner[data.draw(st.text(max_size=6))] = data.draw(VALUES)
        else:
            inner[last] = data.draw(VALUES)
    return value


def is_refused_or_works(path: Path) -> None:
    message = ""
    try:
        model = load_heart_model(path)
    except BadInputError as error:
        message = str(error)
    if message:
        assert str(path) in message
        assert len(message) < 1500
        return
    assert len(model.codes.ids) == len(model.frames)
    frame = model.frames[model.codes.ids[0]]
    labels = evaluate_labels(model, model.heart(model.codes.ids[0]), frame.grid_at(8))
    assert labels.shape == (8, 8, 8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_the_json_is_an_error_or_a_working_model(tmp_path: Path, data: st.DataObject) -> None:
    table = mutate(data, json.loads(valid_parts()[TABLE]))
    (tmp_path / "m.zip").write_bytes(with_json(json.dumps(table).encode("utf-8", "surrogatepass")))
    is_refused_or_works(tmp_path / "m.zip")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_the_header_is_an_error_or_a_working_model(tmp_path: Path, data: st.DataObject) -> None:
    tensors = valid_parts()[TENSORS]
    length = int.from_bytes(tensors[:8], "little")
    header = mutate(data, json.loads(tensors[8 : 8 + length]))
    (tmp_path / "m.zip").write_bytes(with_header_text(json.dumps(header).encode("utf-8", "surrogatepass")))
    is_refused_or_works(tmp_path / "m.zip")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_of_the_file_is_an_error_or_a_working_model(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(pack(valid_parts()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "m.zip").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    is_refused_or_works(tmp_path / "m.zip")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["net.0.weight", "net.4.bias", "codes.affine", "template.level"]), data=st.data())
def test_any_value_of_a_tensor_is_an_error_or_a_working_model(tmp_path: Path, name: str, data: st.DataObject) -> None:
    place, byte = data.draw(st.integers(0, 47)), data.draw(st.integers(0, 255))

    def change(array: Any) -> Any:
        array.reshape(-1).view("u1")[place % array.nbytes] = byte
        return array

    (tmp_path / "m.zip").write_bytes(with_array(name, change))
    is_refused_or_works(tmp_path / "m.zip")
