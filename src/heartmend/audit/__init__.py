"""Which labels are bad: a data set's cases and structures ranked by how likely they are wrong, with reasons."""

from heartmend.audit.look import audit_in_passing, audit_labels, audit_run
from heartmend.audit.ranking import CaseFinding, Finding, Ranking, rank
from heartmend.audit.signs import Signs, case_signs
from heartmend.audit.table import ranking_tables, write_ranking

__all__ = [
    "CaseFinding",
    "Finding",
    "Ranking",
    "Signs",
    "audit_in_passing",
    "audit_labels",
    "audit_run",
    "case_signs",
    "rank",
    "ranking_tables",
    "write_ranking",
]
