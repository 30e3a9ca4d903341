"""How results show themselves in a notebook."""

from __future__ import annotations

import importlib


class Tabular:
    """A result that a notebook shows as a table, drawn by :mod:`lipcert.reports.notebook`."""

    def _repr_html_(self) -> str:
        notebook = importlib.import_module("lipcert.reports.notebook")
        return str(notebook.TABLES[type(self).__name__](self))
