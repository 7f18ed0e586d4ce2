"""Records of the errors that all cases of a run share, and of their correction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from heartmend.io.atomic import write_json
from heartmend.run_folder.paths import CORRECT, inside, read_table
from heartmend.run_folder.stamped_stages import StampedStages

if TYPE_CHECKING:
    from heartmend.repair.shared_errors.convention import Convention
    from heartmend.repair.shared_errors.report import SharedErrors


class CorrectionRecords(StampedStages):
    """Records of shared errors. torch is imported only where a correction is read or written."""

    def write_correction(self, shared: SharedErrors, convention: Convention) -> list[Path]:
        """Write the errors that all cases share, and their correction.

        Args:
            shared: the errors.
            convention: the correction and its template.

        Returns:
            The files that were written.
        """
        errors = inside(self._folder(CORRECT), "shared_errors.json")
        write_json(errors, shared.to_dict())
        convention.write(self.convention_path())
        return [errors, self.convention_path()]

    def convention_path(self) -> Path:
        """Return the file of the correction, which can be applied to another data set.

        Returns:
            The path, whether or not the file exists.
        """
        return inside(inside(self._root, CORRECT), "convention.safetensors")

    def shared_errors(self) -> SharedErrors | None:
        """Read the errors that all cases share.

        Returns:
            The errors; None where they were not measured.

        Raises:
            RunError: if the record is damaged.
        """
        from heartmend.repair.shared_errors.report import SharedErrors

        if not self.is_stamped(CORRECT):
            return None
        path = inside(inside(self._root, CORRECT), "shared_errors.json")
        self.check_intact(CORRECT, None, path)
        return SharedErrors.from_dict(read_table(path))

    def convention(self) -> Convention | None:
        """Read the correction of a run.

        Returns:
            The correction and its template; None where nothing is corrected.

        Raises:
            RunError: if the file is damaged.
        """
        shared = self.shared_errors()
        return self.mean_heart() if shared is not None and shared.is_corrected else None

    def mean_heart(self) -> Convention:
        """Read the template of a run whose shared errors were measured, with the correction, also if none is applied.

        Returns:
            The correction and its template.

        Raises:
            RunError: if the file is missing or damaged.
        """
        from heartmend.repair.shared_errors.convention import Convention

        path = self.convention_path()
        self.check_intact(CORRECT, None, path)
        return Convention.read(path)
