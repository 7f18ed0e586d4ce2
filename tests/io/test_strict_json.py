"""Strict JSON."""

import pytest

from heartmend.io.strict_json import MAX_DEPTH, parse_json


def test_valid_json_is_parsed() -> None:
    assert parse_json('{"a": [1, -2.5e3, true, null, "Ä"]}'.encode()) == {"a": [1, -2500.0, True, None, "Ä"]}
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert parse_json(b"1234567890123456789") == 1234567890123456789


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"NaN", "no number of JSON"), (b"[-Infinity]", "no number of JSON"), (b"1e999", "too large"),
        (b"9" * 20, "20 digits"), (b"9" * 5000, "5000 digits"), (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"), (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested"),
        (b'"\\ud800"', "surrogates"), (b'{"\\ud800": 1}', "surrogates"), (b"\xff", "utf-8"), (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
    ],
)  # fmt: skip
def test_what_other_programs_would_read_differently_is_an_error(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)
