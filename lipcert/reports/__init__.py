"""Results in the forms that people and programs read.

Every module of this folder that registers a format is imported here; none of them loads torch.
"""

import lipcert.reports.compare_layout
import lipcert.reports.compare_rows
import lipcert.reports.gate_github
import lipcert.reports.gate_json
import lipcert.reports.gate_markdown
import lipcert.reports.gate_text
import lipcert.reports.html.page
import lipcert.reports.html.sensitivity_page
import lipcert.reports.json_certificates
import lipcert.reports.json_format
import lipcert.reports.junit
import lipcert.reports.markdown
import lipcert.reports.markdown_certificates
import lipcert.reports.sarif
import lipcert.reports.sensitivity_json
import lipcert.reports.sensitivity_markdown
import lipcert.reports.sensitivity_text
import lipcert.reports.text
import lipcert.reports.verdict  # noqa: F401
from lipcert.reports.formats import FORMATS, Format, formats_of, render

__all__ = ["FORMATS", "Format", "formats_of", "render"]
