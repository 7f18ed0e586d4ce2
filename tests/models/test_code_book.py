import pytest
import torch

from heartmend.errors import ConfigError
from heartmend.models.code_book import CodeBook


def book() -> CodeBook:
    return CodeBook(["p1", "p2", "p10"], {"latent": torch.tensor([[1.0], [2.0], [10.0]]), "shift": torch.zeros(3, 2)})


def test_codes_go_by_id_and_not_by_place() -> None:
    codes = book()
    assert codes.of(["p10", "p1"])["latent"].flatten().tolist() == [10, 1]
    assert codes.of(["p1", "p2", "p10"])["latent"].flatten().tolist() == [1, 2, 10]
    assert codes.of(["p2", "p2"])["shift"].shape == (2, 2)
    assert codes.at(torch.tensor([2]))["latent"].item() == 10


def test_a_case_that_was_not_fitted_has_no_code() -> None:
    with pytest.raises(ConfigError, match="no code is kept for case p3"):
        book().of(["p1", "p3"])


def test_ids_and_codes_fit_together() -> None:
    with pytest.raises(ConfigError, match="one twice"):
        CodeBook(["a", "a"], {"latent": torch.zeros(2, 1)})
    with pytest.raises(ConfigError, match="do not fit"):
        CodeBook(["a", "b"], {"latent": torch.zeros(3, 1)})


def test_finer_codes_take_the_place_of_coarse_ones() -> None:
    codes = book()
    codes.replace({"latent": torch.tensor([[5.0, 5.5]] * 3)})
    assert codes.of(["p2"])["latent"].tolist() == [[5.0, 5.5]]
    assert all(value.requires_grad for value in codes.parameters())
