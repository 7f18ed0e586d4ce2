"""A person goes through the changes of a run in a browser and decides, structure by structure.

`ready` makes each case ready for the page once; `server` serves it; `decisions` keeps who decided what and when.
"""

from heartmend.review.decisions import Choice, ConflictError, Decision, Decisions, Wish
from heartmend.review.digest import Digest, StructureDigest, most_doubtful_first
from heartmend.review.guard import Access
from heartmend.review.ready import make_ready, read_digest
from heartmend.review.server import Review, create_app, decisions_of
from heartmend.review.surfaces import surface
from heartmend.review.table import decisions_to_csv, take_csv

__all__ = [
    "Access",
    "Choice",
    "ConflictError",
    "Decision",
    "Decisions",
    "Digest",
    "Review",
    "StructureDigest",
    "Wish",
    "create_app",
    "decisions_of",
    "decisions_to_csv",
    "make_ready",
    "most_doubtful_first",
    "read_digest",
    "surface",
    "take_csv",
]
