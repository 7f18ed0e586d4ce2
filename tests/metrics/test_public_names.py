"""Public names of the package, imported on first use."""

import subprocess
import sys

import numpy as np

import heartmend.metrics as m

LAZY = """
import sys, heartmend.metrics as m
assert not any(name in sys.modules for name in ("numpy", "scipy", "pandas", "torch"))
import heartmend.metrics.metric_catalogue
assert m.catalogue(keys=["dice"])[0].key == "dice"
"""


def test_all_names_are_there() -> None:
    for name in m.__all__:
        assert getattr(m, name).__name__ == name
    assert set(m.__all__) <= set(dir(m))
    assert {"evaluate_case", "dice", "surface_dice", "hd95", "assd", "cldice", "betti_numbers", "roughness_mm"} <= set(
        m.__all__
    )


def test_the_import_loads_nothing() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True)


def test_a_mask_in_the_words_of_the_package() -> None:
    mask = np.ones((4, 4, 4), bool)
    assert m.dice(mask, mask) == m.surface_dice(mask, mask, (1, 1, 1)) == 1
    assert m.evaluate_case(mask, mask, spacing_mm=(0.9, 0.9, 0.9))[1].values["assd_mm"] == 0
