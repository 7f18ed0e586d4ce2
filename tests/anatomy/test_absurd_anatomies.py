"""Anatomy files that cannot be used: each is one ConfigError, soon and short."""

import os
import time
from pathlib import Path

import pytest

from heartmend.anatomy.load import load_anatomy, parse_anatomy
from heartmend.errors import ConfigError

HEAD = 'name = "two"\npriority = ["A", "B"]\n'
A = '[[structures]]\nid = 1\nname = "A"\ncolour = [1, 2, 3]\nkind = "wall"\n'
B = '[[structures]]\nid = 2\nname = "B"\ncolour = [1, 2, 3]\nkind = "tube"\nroot = "A"\n'
VALID = HEAD + A + B


def structure(key: str, text: str) -> str:
    """The valid anatomy with another value of its first structure."""
    lines = [line for line in A.splitlines() if not line.startswith(f"{key} ")]
    return HEAD + "\n".join([*lines, f"{key} = {text}" if text else ""]) + "\n" + B


def rule(text: str) -> str:
    """The valid anatomy with a rule."""
    return f"{VALID}[[rules]]\n{text}\n"


def top(key: str, text: str) -> str:
    """The valid anatomy with another value at its top."""
    lines = [line for line in HEAD.splitlines() if not line.startswith(f"{key} ")]
    return "\n".join([*lines, f"{key} = {text}" if text else ""]) + "\n" + A + B


def many(count: int) -> str:
    names = ", ".join(f'"S{n}"' for n in range(count))
    return f'name = "x"\npriority = [{names}]\n' + "".join(
        f'[[structures]]\nid = {n % 254 + 1}\nname = "S{n}"\n' for n in range(count)
    )


STRUCTURE_VALUES = {
    "id": ("0", "65536", "-1", "1.0", '"1"', "true", "nan", "[1]", "9_000_000_000_000_000_000", "2", ""),
    "name": ("1", '""', '"../A"', '"A/B"', '".A"', '"A\\n"', '"B"', '"b"', "[]", '"' + "A" * 64 + '"', '"Ä"', ""),
    "aliases": ("5", '"myo"', "[1]", "[[]]", '[""]', '["__"]', '["B"]', "{}", '["' + "a" * 101 + '"]',
                "[" + ", ".join(f'"a{n}"' for n in range(101)) + "]", "true"),
    "colour": ("[1, 2]", "[1, 2, 3, 4]", "[1, 2, 256]", "[-1, 2, 3]", "[1.5, 2, 3]", '"red"', "[true, 1, 2]", "5", ""),
    "kind": ('"bone"', "1", '["wall"]', ""),
    "repair_method": ('"magic"', "1"),
    "components": ("0", "-1", "1001", "1.5", "true", "inf"),
    "neighbours": ('["C"]', '["A"]', '"B"', "5", "[5]", "[[]]", "{}", "{B = 1}", "true"),
    "must_touch": ('["C"]', '["A"]', "5", '[["B"]]'),
    "root": ('"C"', '"A"', "5", '["B"]', "{}", '["B", "C"]'),
    "min_mm3": ("-1", "inf", "nan", "1e9", '"x"', "true", "[]"),
    "max_volume_change": ("[2, 1]", "[0, 2]", "[1.5, 2]", "[0.1, 0.5]", "[nan, 2]", "[0.5, inf]", "[0.5]", "1",
                          "[0.5, 1e9]"),
    "max_surface_mm": ("0", "-1", "inf", "nan", "1e6", "true"),
    "image_edges": ("1", '"yes"', "[]"),
    "colour_of_eyes": ("1",),
}  # fmt: skip
TOP_VALUES = {
    "name": ("1", '""', '"../x"', "[]", ""),
    "title": ("1", "[]", '"' + "x" * 201 + '"'),
    "priority": ('["A"]', '["A", "B", "B"]', '["A", "B", "C"]', '"A"', "5", "[1]", "[[]]", "{}", ""),
    "structures": ("5", '"A"', "{}", "[]", "[1]", "[[]]"),
    "rules": ("5", '"x"', "{}", "[1]", "[[]]"),
    "script": ("1",),
}
RULES = {
    "no name": "max_voxels = 2",
    "an unknown name": 'rule = "x"',
    "a number as a name": "rule = 1",
    "a list as a name": 'rule = ["holes"]',
    "a table as a name": "rule = {}",
    "an unknown key": 'rule = "holes"\nx = 1',
    "a negative length": 'rule = "slices"\nmax_gap_mm = -1',
    "an infinite length": 'rule = "slices"\nmax_gap_mm = inf',
    "no number": 'rule = "slices"\nmax_gap_mm = nan',
    "a share above 1": 'rule = "slices"\nmin_agreement = 1.5',
    "a text as a share": 'rule = "slices"\nmin_agreement = "x"',
    "a truth value as a share": 'rule = "slices"\nmin_agreement = true',
    "an infinite volume": 'rule = "holes"\nmax_pocket_mm3 = inf',
    "too many voxels": 'rule = "speckle"\nmax_voxels = 9',
    "half a voxel": 'rule = "speckle"\nmax_voxels = 1.5',
    "an infinite ratio": 'rule = "cut_vessels"\nworth = inf',
    "no such structure": 'rule = "holes"\nstructures = ["C"]',
    "structures of another type": 'rule = "holes"\nstructures = 5',
    "structures in a table": 'rule = "holes"\nstructures = {A = 1}',
    "near nothing": 'rule = "detached_segments"\nroot = "A"\nnear = []',
    "no root": 'rule = "detached_segments"\nnear = ["A"]',
    "a root of another type": 'rule = "detached_segments"\nnear = ["A"]\nroot = 5',
    "near of another type": 'rule = "detached_segments"\nnear = 5\nroot = "A"',
}
ABSURD = {
    **{
        f"a structure with {key} = {text[:20]}": structure(key, text)
        for key, texts in STRUCTURE_VALUES.items()
        for text in texts
    },
    **{f"{key} = {text[:20]}": top(key, text) for key, texts in TOP_VALUES.items() for text in texts},
    **{f"a rule with {name}": rule(text) for name, text in RULES.items()},
    "255 structures": many(255),
    "20,000 structures": many(20_000),
    "3,000 bare structures": "[[structures]]\n" * 3000,
    "3,000 rules": VALID + "[[rules]]\n" * 3000,
    "a priority of 50,000": top("priority", "[" + '"A", ' * 50_000 + "]"),
    "neighbours of 50,000": structure("neighbours", "[" + '"B", ' * 50_000 + "]"),
    "an alias of 100,000 letters": structure("aliases", '["' + "a" * 100_000 + '"]'),
    "an unknown structure of 100,000 letters": structure("neighbours", '["' + "a" * 100_000 + '"]'),
    "a key of 100,000 letters": VALID + "k" * 100_000 + " = 1\n",
    "a name with an escape sequence": structure("name", '"\\u001b[31m"'),
    "an empty file": "",
    "a comment": "# nothing\n",
    "a structure twice": VALID + A,
    "lists 100,000 deep": top("priority", "[" * 100_000),
    "lists 200 deep": structure("aliases", "[" * 200 + "]" * 200),
    "lists 11 deep": structure("neighbours", "[" * 11 + "]" * 11),
    "lists 20 deep": structure("neighbours", "[" * 20 + "]" * 20),
    "tables 1,000 deep": top("title", "{a = " * 1000),
    "a key of 100,000 parts": VALID + "a" + ".a" * 100_000 + " = 1\n",
    "an id of 5,000 digits": structure("id", "9" * 5000),
    "an id of 100,000 hexadecimal digits": structure("id", "0x" + "f" * 100_000),
    "a date that does not exist": top("title", "2024-02-31"),
    "half a string": 'name = "x\n',
    "no TOML": "<anatomy/>",
    "a null character": VALID + "\0",
    "300 kilobytes": VALID + "#" * 300_000,
}


def check(message: str, where: str) -> None:
    assert message.startswith(f"{where}: ")
    assert len(message.splitlines()) <= 10
    assert all(len(line) < 400 and line.isprintable() for line in message.splitlines())


def test_the_anatomy_that_the_absurd_ones_are_made_of_is_valid() -> None:
    assert parse_anatomy(VALID, "two.toml").names == ("A", "B")
    assert parse_anatomy(rule('rule = "holes"'), "two.toml").rules


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_anatomy_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ABSURD[name])
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_anatomy(path)
    assert time.process_time() - start < 1
    check(str(caught.value), str(path))
    with pytest.raises(ConfigError) as caught:
        parse_anatomy(ABSURD[name], "mine.toml")
    check(str(caught.value), "mine.toml")


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), tmp_path / "bytes.toml"):
        with pytest.raises(ConfigError) as caught:
            load_anatomy(path)
        check(str(caught.value), str(path))


def test_254_structures_are_possible() -> None:
    names = [f"S{n}" for n in range(1, 255)]
    text = f'name = "many"\npriority = {names}\n' + "".join(
        f'[[structures]]\nid = {n}\nname = "S{n}"\ncolour = [0, 0, 0]\nkind = "wall"\n' for n in range(1, 255)
    )
    assert len(parse_anatomy(text, "many.toml").structures) == 254


def test_every_error_is_counted() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_anatomy("[[structures]]\n" * 10, "mine.toml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "mine.toml: 42 errors:"
    assert lines[-1] == "  ... and 34 more"
    assert len(lines) == 10
