"""Griffe extension: a docstring section `Example:` is shown as code, as `Examples:` is."""

import re
from typing import Any

from griffe import Extension, Object

SECTION = re.compile(r"^([ \t]*)Example:[ \t]*$", re.MULTILINE)


class ExampleSections(Extension):
    """Reads `Example:` in Google docstrings as a section of doctests."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rename the section in the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = SECTION.sub(r"\1Examples:", obj.docstring.value)
