"""First import of the server of worker processes when the main thread starts it: the server ends with that thread."""

from __future__ import annotations

import sys

from heartmend.compute.process_lifetime import end_with_parent

# Anywhere else an import of this module has no effect.
if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    end_with_parent()
