"""Public functions of Heartmend: the commands, with the words of the command line, on paths and on arrays."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from heartmend.api.data_sets import centrelines as centrelines
    from heartmend.api.data_sets import crop as crop
    from heartmend.api.data_sets import make_phantoms as make_phantoms
    from heartmend.api.models import draw_population as draw_population
    from heartmend.api.models import load_model as load_model
    from heartmend.api.quality import check as check
    from heartmend.api.quality import evaluate as evaluate
    from heartmend.api.quality import screen as screen
    from heartmend.api.repair import embed as embed
    from heartmend.api.repair import learn_convention as learn_convention
    from heartmend.api.repair import merge as merge
    from heartmend.api.repair import run as run
    from heartmend.api.review import export as export
    from heartmend.api.review import import_corrections as import_corrections
    from heartmend.api.review import write_report as write_report

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data_sets": ["centrelines", "crop", "make_phantoms"],
        "models": ["draw_population", "load_model"],
        "quality": ["check", "evaluate", "screen"],
        "repair": ["embed", "learn_convention", "merge", "run"],
        "review": ["export", "import_corrections", "write_report"],
    },
)
