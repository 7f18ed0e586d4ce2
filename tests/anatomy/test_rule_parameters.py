"""The rules in an anatomy file."""

import pytest

from heartmend.anatomy.load import load_anatomy, parse_anatomy
from heartmend.errors import ConfigError
from heartmend.repair.rules.apply import RULES

BONE = """
name = "bone"
priority = ["Femur"]
[[structures]]
id = 1
name = "Femur"
colour = [10, 20, 30]
kind = "wall"
"""


def test_ours_has_every_rule_once_and_in_order() -> None:
    assert tuple(r.rule for r in load_anatomy("heart").rules) == tuple(RULES)


def test_a_file_may_leave_them_out_or_choose() -> None:
    assert parse_anatomy(BONE, "b.toml").rules == ()
    (rule,) = parse_anatomy(BONE + '[[rules]]\nrule = "components"\nstructures = ["Femur"]\nmin_share = 0.1', "b").rules
    assert (rule.rule, rule.structures, rule.min_share) == ("components", ("Femur",), 0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('rule = "smooth"', "'smooth'"),
        ('rule = "components"\nsize = 3', "size"),
        ('rule = "components"\nmin_share = 2', "min_share"),
        ('rule = "components"\nstructures = ["Tibia"]', "rules.pieces.structures names 'Tibia', which is no structure"),
        ('rule = "detached_segments"\nroot = "Aorta"\nnear = []', "rules.strays.root names 'Aorta'"),
        ("min_share = 0.1", "rule"),
    ],
)
def test_each_mistake_is_told(table: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_anatomy(f"{BONE}[[rules]]\n{table}", "bone.toml")
    assert told in str(error.value)
