"""Trusted label maps and conventions of a run, checked before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from heartmend.anatomy.schema import Anatomy
from heartmend.anatomy.validation import shorten
from heartmend.errors import BadInputError, ConfigError
from heartmend.io.dataset import Cohort, discover_cohort
from heartmend.io.file_names import real_path
from heartmend.repair.shared_errors.convention import Convention
from heartmend.repair.shared_errors.estimate import MIN_TRUSTED
from heartmend.wording import plural


def find_trusted(
    folder: Path | None, cohort: Cohort, ids: Path | Mapping[int, str] | None = None, preset_ids: str = ""
) -> Cohort | None:
    """Find the trusted label maps of some cases, and check them.

    Args:
        folder: folder of the trusted label maps, named as those of the data set; None: there are none.
        cohort: the data set.
        ids: meaning of their values, as for the data set.
        preset_ids: the same, by the name of a public data set.

    Returns:
        The trusted cases; None where there is no folder.

    Raises:
        BadInputError: if there are fewer than `MIN_TRUSTED`, or one cannot be read, is no case of the data set, or has
            other voxels than its label map.
    """
    if folder is None:
        return None
    trusted = discover_cohort(
        folder, anatomy=cohort.anatomy, unknown_labels=cohort.unknown_labels, ids=ids, preset_ids=preset_ids
    )
    check_trusted(trusted, cohort, folder)
    return trusted


def check_trusted(trusted: Cohort, cohort: Cohort, folder: Path) -> None:
    """Check the trusted label maps of some cases.

    Args:
        trusted: the trusted cases.
        cohort: the data set.
        folder: where the trusted label maps are.

    Raises:
        BadInputError: as `find_trusted`.
    """
    if trusted.skipped:
        id, reason = next(iter(trusted.skipped.items()))
        raise BadInputError(f"{folder}: case {id}: {reason}")
    known = {case.id for case in cohort}
    if unknown := sorted(case.id for case in trusted if case.id not in known):
        raise BadInputError(
            f"{folder}: {', '.join(unknown[:5])}: the data set has no such case; name a trusted label map as its case"
        )
    if len(trusted) < MIN_TRUSTED:
        raise BadInputError(
            f"{folder}: has {plural(len(trusted), 'label map')}; at least {MIN_TRUSTED} trusted cases are needed"
        )
    for case in trusted:
        # Axes of another order or direction are turned when the map is used.
        trusted.read_labels(case).on_grid(cohort.read_labels(cohort[case.id]).grid)


def check_convention(path: Path | None, trusted: Path | None, anatomy: Anatomy) -> Path | None:
    """Check the file of a convention.

    Args:
        path: the file, or a link to it; None: there is none.
        trusted: folder of trusted label maps, which cannot be given as well.
        anatomy: the structures of the data set.

    Returns:
        The file itself.

    Raises:
        ConfigError: if both are given.
        BadInputError: if the file cannot be used.
    """
    if path is None:
        return None
    if trusted is not None:
        raise ConfigError("--trusted and --convention both correct what all cases share; give one of them")
    given, path = path, real_path(path)
    try:
        heads = Convention.read(path).correction.heads
    except BadInputError as error:
        raise (
            error if path == given or not given.is_symlink() else BadInputError(f"{given}: leads to {error}")
        ) from error
    if not set(heads) & set(anatomy.names):
        raise BadInputError(
            f"{path}: is the convention of other structures ({shorten(', '.join(heads), 80)}) than those of anatomy "
            f"{anatomy.name}; give one of the same structures"
        )
    return path
