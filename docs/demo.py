"""Draw docs/demo.svg: what `make demo` prints, as a picture for the README.

python docs/demo.py
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
SIZES = ["--eps", "0.1", "--eps", "0.25", "--eps", "0.5", "--eps", "1"]


def main() -> None:
    """Run the two commands and record their output."""
    console = Console(record=True, width=88, file=io.StringIO(), force_terminal=True)
    for model in ("digits_lip_mlp", "digits_relu_mlp"):
        arguments = ["certify", f"sample_models/{model}.onnx", "sample_models/digits_test.npz"]
        console.print(Text(f"$ lipcert {' '.join(arguments + SIZES)}", style="bold"))
        done = subprocess.run(
            [sys.executable, "-m", "lipcert_cli", *arguments, *SIZES, "--color", "always"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "88"},
        )
        console.print(Text.from_ansi(done.stdout))
    svg = console.export_svg(title="lipcert certify", unique_id="lipcert-demo")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing from the network
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = "\n".join(line.rstrip() for line in svg.splitlines() if line.strip())
    (ROOT / "docs" / "demo.svg").write_text(svg + "\n")


if __name__ == "__main__":
    main()
