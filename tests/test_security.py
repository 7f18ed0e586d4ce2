"""Security: no given file can run code, write outside of OUT, or be followed out of OUT by a link."""

import ast
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.errors import BadInputError, HeartmendError, RunError
from heartmend.io.atomic import read_json, read_npz, write_npz
from heartmend.io.dataset import Case
from heartmend.io.file_names import case_id
from heartmend.run_folder.folder import RunFolder
from heartmend.training.checkpoint import load_shape_and_codes
from support.hearts import small_hearts
from support.volumes import save_nifti, some_labels

SOURCE = Path(__file__).parents[1] / "src" / "heartmend"


class Exploit:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """File that exists if an object was unpickled."""
    return tmp_path / "evidence"


def write_exploits(path: Path, evidence: Path) -> list[Path]:
    """Write a pickle bare, as .npy, as .npz and by torch, each with the ending of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bare, npy, npz, torch_file = (path.with_name(f"{n}{path.suffix}") for n in "abcd")
    bare.write_bytes(pickle.dumps(Exploit(evidence)))
    objects = np.array([Exploit(evidence)], dtype=object)
    with open(npy, "wb") as file:
        np.save(file, objects, allow_pickle=True)
    with open(npz, "wb") as file:
        np.savez(file, labels=objects, source=objects)
    torch.save(Exploit(evidence), torch_file)
    return [bare, npy, npz, torch_file]


def test_a_pickle_in_place_of_a_file_is_not_unpickled(tmp_path: Path, evidence: Path) -> None:
    for path in write_exploits(tmp_path / "x.npz", evidence):
        with pytest.raises(RunError, match=rf"{path.name}: is damaged"):
            read_npz(path)
    for path in write_exploits(tmp_path / "x.safetensors", evidence):
        with pytest.raises(RunError, match=path.name):
            load_shape_and_codes(path)
    assert not evidence.exists()


def test_a_pickle_in_place_of_a_prepared_case_is_not_unpickled(tmp_path: Path, evidence: Path) -> None:
    (tmp_path / "labels").mkdir()
    with RunFolder.open(tmp_path / "out", tmp_path / "labels") as run:
        case = small_hearts(1)[0]
        path, _ = run.write_prepared(case)
        for exploit in write_exploits(tmp_path / "x.npz", evidence):
            path.write_bytes(exploit.read_bytes())
            with pytest.raises(RunError, match=path.name):
                run.prepared(case.case_id)
    assert not evidence.exists()


def test_no_module_can_unpickle_or_execute_text() -> None:
    """All arrays are read by `read_npz`, all tensors by safetensors."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        modules |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not modules & {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "yaml"}, path
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            name = ast.unparse(call.func)
            assert name not in ("eval", "exec", "torch.load", "np.fromfile", "os.system"), path
            if name in ("np.load", "numpy.load"):
                assert path.name == "atomic.py" and "allow_pickle=False" in ast.unparse(call), path


def test_the_members_of_an_archive_are_not_written_to_disk(tmp_path: Path) -> None:
    packed = io.BytesIO()
    np.save(packed, np.arange(3))
    path = tmp_path / "deep" / "x.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped.npy", packed.getvalue())
    assert list(read_npz(path)) == ["../../escaped"]
    assert [p.name for p in tmp_path.rglob("*")] == ["deep", "x.npz"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_or_table_is_an_error_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    write_npz(folder / "a.npz", {"labels": np.arange(60, dtype=np.uint8).reshape(3, 4, 5), "b": np.ones(3)})
    raw = bytearray((folder / "a.npz").read_bytes())
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=8)):
        raw[at] = value
    (folder / "a.npz").write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    (folder / "a.json").write_bytes(data.draw(st.binary(max_size=60)))
    for read in (read_npz, read_json):
        message = str(folder)
        try:
            read(folder / f"a.{read.__name__.removeprefix('read_')}")
        except RunError as error:
            message = str(error)
        assert str(folder) in message


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1, max_size=60))
def test_no_file_name_makes_a_case_id_that_is_a_path(name: str) -> None:
    message, id = "", "1"
    try:
        id = case_id(Path("LABELS") / f"{name}.nii.gz")
    except BadInputError as error:
        message = str(error)
    assert not any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in message + id), "cannot be printed"
    assert id not in (".", "..") and "/" not in id and "\\" not in id and not id.startswith(".")
    assert (Path("/out/run/fit") / f"{id}.json").resolve().parent == Path("/out/run/fit")


@pytest.mark.parametrize("place", ["labels", "run", "run/fuse", "run/fuse/done"])
def test_a_link_in_place_of_a_folder_of_a_run_is_an_error(tmp_path: Path, place: str) -> None:
    save_nifti(tmp_path / "in" / "1.nii.gz", some_labels())
    RunFolder.open(tmp_path / "out", tmp_path / "in").close()
    link = tmp_path / "out" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir():
        link.rename(tmp_path / "moved")
    link.symlink_to(tmp_path / "in")
    with pytest.raises(HeartmendError, match="is a link"), RunFolder.open(tmp_path / "out", tmp_path / "in") as run:
        run.fused_ids()
        run.finish("fuse", "1", "abc")
        run.result_path(Case("1", tmp_path / "in" / "1.nii.gz"))
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["1.nii.gz"]


def test_paths_are_made_real_by_one_function() -> None:
    """`Path.resolve` raises RuntimeError for a link to itself, which no one expects of a path."""
    found = [p.name for p in SOURCE.rglob("*.py") if ".resolve()" in p.read_text(encoding="utf-8")]
    assert found == []


def test_a_link_to_itself_is_an_error_of_heartmend(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "labels").mkdir()
    with pytest.raises(HeartmendError, match="loop"):
        RunFolder.open(loop, tmp_path / "labels")
    with pytest.raises(HeartmendError, match="loop"):
        RunFolder.at(loop)
