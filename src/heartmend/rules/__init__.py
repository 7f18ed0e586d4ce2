"""The rules of anatomy: shapes fused into one label map, mended rule by rule, held against what came in, and told."""

from heartmend.rules.apply import RULES, apply_rules
from heartmend.rules.audit import Audit, audit_from_json, audit_to_json, explain, summary_table
from heartmend.rules.change import Change, Severity
from heartmend.rules.fuse import Mode, fuse
from heartmend.rules.harm import Verdict, bulk_of, check

__all__ = [
    "RULES",
    "Audit",
    "Change",
    "Mode",
    "Severity",
    "Verdict",
    "apply_rules",
    "audit_from_json",
    "audit_to_json",
    "bulk_of",
    "check",
    "explain",
    "fuse",
    "summary_table",
]
