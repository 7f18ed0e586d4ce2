"""Rules of an anatomy file."""

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


def test_the_heart_has_every_rule_once_and_in_order() -> None:
    assert tuple(r.rule for r in load_anatomy("heart").rules) == tuple(RULES)


def test_rules_are_optional_and_can_be_limited_to_structures() -> None:
    assert parse_anatomy(BONE, "b.toml").rules == ()
    (rule,) = parse_anatomy(BONE + '[[rules]]\nrule = "components"\nstructures = ["Femur"]\nmin_share = 0.1', "b").rules
    assert (rule.rule, rule.structures, rule.min_share) == ("components", ("Femur",), 0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('rule = "smooth"', "'smooth'"),
        ('rule = "components"\nsize = 3', "size"),
        ('rule = "components"\nmin_share = 2', "min_share"),
        (
            'rule = "components"\nstructures = ["Tibia"]',
            "rules.components.structures names 'Tibia', which is no structure",
        ),
        ('rule = "detached_segments"\nroot = "Aorta"\nnear = []', "rules.detached_segments.root names 'Aorta'"),
        ("min_share = 0.1", "rule"),
    ],
)
def test_every_error_is_reported(table: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_anatomy(f"{BONE}[[rules]]\n{table}", "bone.toml")
    assert message in str(error.value)
