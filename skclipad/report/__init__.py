"""What a run found, as something to look at."""

from skclipad.report._page import write_report
from skclipad.report._settings import describe_run, package_versions
from skclipad.report._sheet import contact_sheet

__all__ = ["contact_sheet", "describe_run", "package_versions", "write_report"]
