import pytest
import torch

from heartmend.errors import ConfigError
from heartmend.models.code_book import CodeBook


def book() -> CodeBook:
    return CodeBook(["p1", "p2", "p10"], {"latent": torch.tensor([[1.0], [2.0], [10.0]]), "shift": torch.zeros(3, 2)})


def test_codes_are_selected_by_id_not_by_position() -> None:
    codes = book()
    assert codes.of(["p10", "p1"])["latent"].flatten().tolist() == [10, 1]
    assert codes.of(["p1", "p2", "p10"])["latent"].flatten().tolist() == [1, 2, 10]
    assert codes.of(["p2", "p2"])["shift"].shape == (2, 2)
    assert codes.at(torch.tensor([2]))["latent"].item() == 10


def test_a_case_that_was_not_fitted_raises_an_error() -> None:
    with pytest.raises(ConfigError, match="case p3 has no code"):
        book().of(["p1", "p3"])


def test_ids_and_codes_must_match() -> None:
    with pytest.raises(ConfigError, match="is repeated"):
        CodeBook(["a", "a"], {"latent": torch.zeros(2, 1)})
    with pytest.raises(ConfigError, match="there are 2 case ids, but codes of"):
        CodeBook(["a", "b"], {"latent": torch.zeros(3, 1)})


def test_codes_are_replaced_by_finer_ones() -> None:
    codes = book()
    codes.replace({"latent": torch.tensor([[5.0, 5.5]] * 3)})
    assert codes.of(["p2"])["latent"].tolist() == [[5.0, 5.5]]
    assert all(value.requires_grad for value in codes.parameters())
