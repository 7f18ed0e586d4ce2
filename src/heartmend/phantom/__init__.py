"""The project's own cohort of hearts, made from mathematics alone: truth, contrast CT and labels with known faults."""

from heartmend.phantom.cohort import PhantomCase, make_case, make_cohort, write_cohort
from heartmend.phantom.plan import Label
from heartmend.phantom.spoil import Recipe, spoil

__all__ = ["Label", "PhantomCase", "Recipe", "make_case", "make_cohort", "spoil", "write_cohort"]
