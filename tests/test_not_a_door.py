"""Nothing that a user may have been given can run code, reach out of OUT, or carry a patient's name into a report."""

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
from heartmend.run_folder.records import load_fields
from heartmend.training.checkpoint import load_model
from support.hearts import small_hearts
from support.volumes import save_nifti, some_labels

SOURCE = Path(__file__).parents[1] / "src" / "heartmend"


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    return tmp_path / "sprung"


def planted(path: Path, sprung: Path) -> list[Path]:
    """A pickle in every dress in which it could come to us, with the ending of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bare, npy, npz, torch_file = (path.with_name(f"{n}{path.suffix}") for n in "abcd")
    bare.write_bytes(pickle.dumps(Trap(sprung)))
    objects = np.array([Trap(sprung)], dtype=object)
    with open(npy, "wb") as file:
        np.save(file, objects, allow_pickle=True)
    with open(npz, "wb") as file:
        np.savez(file, labels=objects, source=objects)
    torch.save(Trap(sprung), torch_file)
    return [bare, npy, npz, torch_file]


def test_a_planted_pickle_is_refused_wherever_it_lies(tmp_path: Path, sprung: Path) -> None:
    for path in planted(tmp_path / "x.npz", sprung):
        for read in (read_npz, load_fields):
            with pytest.raises(RunError, match=rf"{path.name}: is damaged"):
                read(path)
    for path in planted(tmp_path / "x.safetensors", sprung):
        with pytest.raises(RunError, match=rf"{path.name}: cannot be read"):
            load_model(path)
    assert not sprung.exists()


def test_nor_as_a_prepared_case_of_a_run_that_one_was_given(tmp_path: Path, sprung: Path) -> None:
    (tmp_path / "labels").mkdir()
    with RunFolder.open(tmp_path / "out", tmp_path / "labels") as run:
        case = small_hearts(1)[0]
        path, _ = run.write_prepared(case)
        for trap in planted(tmp_path / "x.npz", sprung):
            path.write_bytes(trap.read_bytes())
            with pytest.raises(RunError, match="remove it"):
                run.prepared(case.case_id)
    assert not sprung.exists()


def test_no_module_can_unpickle_or_run_a_text() -> None:
    """All arrays come through `read_npz`, all tensors through safetensors."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        modules |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not modules & {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "yaml"}, path
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            name = ast.unparse(call.func)
            assert name not in ("eval", "exec", "torch.load", "np.fromfile", "os.system"), path
            if name in ("np.load", "numpy.load"):
                assert path.name == "files.py" and "allow_pickle=False" in ast.unparse(call), path


def test_a_member_of_an_archive_writes_nothing(tmp_path: Path) -> None:
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
def test_any_damaged_archive_or_table_is_our_own_error(
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
        told = str(folder)
        try:
            read(folder / f"a.{read.__name__.removeprefix('read_')}")
        except RunError as error:
            told = str(error)
        assert str(folder) in told


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1, max_size=60))
def test_no_name_leads_out_of_a_folder(name: str) -> None:
    told, id = "", "1"
    try:
        id = case_id(Path("LABELS") / f"{name}.nii.gz")
    except BadInputError as error:
        told = str(error)
    # Either can be printed, and says what it is.
    assert not any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in told + id)
    assert id not in (".", "..") and "/" not in id and "\\" not in id and not id.startswith(".")
    assert (Path("/out/run/fit") / f"{id}.json").resolve().parent == Path("/out/run/fit")


@pytest.mark.parametrize("planted_at", ["labels", "run", "run/fuse", "run/fuse/done"])
def test_a_link_in_a_run_leads_nowhere(tmp_path: Path, planted_at: str) -> None:
    save_nifti(tmp_path / "in" / "1.nii.gz", some_labels())
    RunFolder.open(tmp_path / "out", tmp_path / "in").close()
    link = tmp_path / "out" / planted_at
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir():
        link.rename(tmp_path / "moved")
    link.symlink_to(tmp_path / "in")
    with pytest.raises(HeartmendError, match="is a link"), RunFolder.open(tmp_path / "out", tmp_path / "in") as run:
        run.fused_ids()
        run.finish("fuse", "1", "abc")
        run.result_path(Case("1", tmp_path / "in" / "1.nii.gz"))
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["1.nii.gz"]
