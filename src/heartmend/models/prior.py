"""Prior models: hearts of other people that ship with Heartmend, for data sets too small for a template of their own.

A prior is one or more models of one heart each. Each heart is deformed to a new case; the one that fits best is used.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.errors import ConfigError
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_file import load_heart_model

Prior = tuple[HeartModel, ...]
"""Models of other hearts, at least one."""


def built_in_priors(anatomy: Anatomy) -> tuple[Path, ...]:
    """List the prior models of an anatomy that are part of Heartmend.

    Args:
        anatomy: the anatomy.

    Returns:
        Their files, sorted; none for an anatomy without a prior.

    Example:
        >>> [path.name for path in built_in_priors(load_anatomy("heart"))], built_in_priors(load_anatomy("adrenal"))
        (['heart-female.zip', 'heart-male.zip'], ())
    """
    folder = Path(str(resources.files("heartmend.models"))) / "priors"
    return tuple(sorted(folder.glob(f"{anatomy.name}-*.zip")))


@lru_cache
def load_built_in_prior(anatomy_name: str) -> Prior:
    """Load the prior models that are part of Heartmend, once in a process.

    Args:
        anatomy_name: name of a built-in anatomy.

    Returns:
        The models, which must not be changed; none for an anatomy without a prior.

    Example:
        >>> [prior_heart(model) for model in load_built_in_prior("heart")]
        ['Visible Human Female, heart v1.2', 'Visible Human Male, heart v1.2']
    """
    return tuple(load_heart_model(path) for path in built_in_priors(load_anatomy(anatomy_name)))


def check_prior(path: Path, anatomy: Anatomy) -> None:
    """Check that a model can be the prior of an anatomy.

    Args:
        path: file of the model.
        anatomy: the anatomy of the label maps.

    Raises:
        ConfigError: if the model has none of the structures of the anatomy, or one of them with another id.
        BadInputError: if the file is not a model.
    """
    model = load_heart_model(path)
    ids = {structure.name: structure.id for structure in anatomy.structures}
    shared = [name for name in model.shape.template.heads if name in ids]
    if not shared:
        raise ConfigError(f"{path}: has no structure of anatomy {anatomy.name}; give a model of the same anatomy")
    for name in shared:
        if (id := model.anatomy.by_name(name).id) != ids[name]:
            raise ConfigError(
                f"{path}: {name} has the id {id} in the model and {ids[name]} in anatomy {anatomy.name}; "
                "give a model of the same anatomy"
            )


def prior_heart(model: HeartModel) -> str:
    """Return the heart that a prior model contains.

    Args:
        model: the model.

    Returns:
        Its source, such as "Visible Human Male, heart v1.2"; empty for a model of a data set.
    """
    return str(model.metadata.get("source", ""))
