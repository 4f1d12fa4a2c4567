"""The three files of a comparison: compare.json for programs, compare.md for a terminal, compare.html for the eye."""

import json
from pathlib import Path

from training.cells import replace_file
from training.compare_page import render
from training.compare_table import as_json, as_markdown
from training.comparison import Comparison


def write(comparison: Comparison, out: Path) -> None:
    """compare.json, compare.md and compare.html, each replaced whole."""
    document = json.dumps(as_json(comparison), indent=1, allow_nan=False) + "\n"
    for name, text in (("json", document), ("md", as_markdown(comparison)), ("html", render(comparison))):
        replace_file(out / f"compare.{name}", text.encode())
