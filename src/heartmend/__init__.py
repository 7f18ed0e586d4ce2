"""Heartmend repairs the labels of cardiac CT data sets with neural implicit shapes.

The commands are functions here, with the same words; where a package has the name, or Python, they are `write_report`,
`make_phantoms`, `import_corrections`, `learn_convention` and `draw_population`:

    import heartmend as hm

    result = hm.run("labels/", output="out/", images="cts/", stop_after="fuse")
    run = hm.open_run("out/")
    run["001"].changes

Every name is imported when it is first used.
"""

import logging
from typing import TYPE_CHECKING

import lazy_loader

from heartmend.version import __version__ as __version__

if TYPE_CHECKING:
    from heartmend import metrics as metrics
    from heartmend.anatomy.load import load_anatomy as load_anatomy
    from heartmend.anatomy.schema import Anatomy as Anatomy
    from heartmend.api import centrelines as centrelines
    from heartmend.api import check as check
    from heartmend.api import crop as crop
    from heartmend.api import draw_population as draw_population
    from heartmend.api import embed as embed
    from heartmend.api import evaluate as evaluate
    from heartmend.api import export as export
    from heartmend.api import import_corrections as import_corrections
    from heartmend.api import learn_convention as learn_convention
    from heartmend.api import load_model as load_model
    from heartmend.api import make_phantoms as make_phantoms
    from heartmend.api import merge as merge
    from heartmend.api import run as run
    from heartmend.api import screen as screen
    from heartmend.api import write_report as write_report
    from heartmend.errors import BadInputError as BadInputError
    from heartmend.errors import ConfigError as ConfigError
    from heartmend.errors import ConflictError as ConflictError
    from heartmend.errors import DamagedError as DamagedError
    from heartmend.errors import FitError as FitError
    from heartmend.errors import HeartmendError as HeartmendError
    from heartmend.errors import OutputError as OutputError
    from heartmend.errors import RunError as RunError
    from heartmend.geometry.grid import Grid as Grid
    from heartmend.geometry.roi import Roi as Roi
    from heartmend.io.dataset import Cohort as Cohort
    from heartmend.io.dataset import discover_cohort as discover_cohort
    from heartmend.io.label_maps import read_labels as read_labels
    from heartmend.io.label_writing import write_labels_like as write_labels_like
    from heartmend.pipelines.config import Config as Config
    from heartmend.pipelines.config import load_config as load_config
    from heartmend.pipelines.open_run import open_run as open_run
    from heartmend.pipelines.repair_labels import RepairedLabels as RepairedLabels
    from heartmend.pipelines.repair_labels import repair_labels as repair_labels
    from heartmend.pipelines.repair_segments import RepairedSegments as RepairedSegments
    from heartmend.pipelines.repair_segments import repair_segments as repair_segments
    from heartmend.pipelines.result import Result as Result

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["metrics"],
    submod_attrs={
        "anatomy.load": ["load_anatomy"],
        "anatomy.schema": ["Anatomy"],
        "api": [
            "check",
            "centrelines",
            "crop",
            "draw_population",
            "embed",
            "evaluate",
            "export",
            "import_corrections",
            "learn_convention",
            "load_model",
            "make_phantoms",
            "merge",
            "run",
            "screen",
            "write_report",
        ],
        "errors": [
            "BadInputError",
            "ConfigError",
            "ConflictError",
            "DamagedError",
            "FitError",
            "HeartmendError",
            "OutputError",
            "RunError",
        ],
        "geometry.grid": ["Grid"],
        "geometry.roi": ["Roi"],
        "io.dataset": ["Cohort", "discover_cohort"],
        "io.label_maps": ["read_labels"],
        "io.label_writing": ["write_labels_like"],
        "pipelines.config": ["Config", "load_config"],
        "pipelines.repair_labels": ["RepairedLabels", "repair_labels"],
        "pipelines.repair_segments": ["RepairedSegments", "repair_segments"],
        "pipelines.result": ["Result"],
        "pipelines.open_run": ["open_run"],
    },
)

# Without a handler of the application, logging would print warnings to stderr.
logging.getLogger("heartmend").addHandler(logging.NullHandler())
