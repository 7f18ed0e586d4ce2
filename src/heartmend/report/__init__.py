"""What a run did, for a person to see: one page with tables, charts, pictures and surfaces that can be turned."""

from heartmend.report.build import write_report
from heartmend.report.pictures import write_view

__all__ = ["write_report", "write_view"]
