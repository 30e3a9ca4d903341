"""The checker's folder, copied away from lipcert, checks proofs with numpy and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lipcert.checker
from lipcert.proof import prove

SAMPLES = Path(__file__).parents[2] / "sample_models"

WATCHED = """
import sys
import runpy
try:
    runpy.run_module("checker", run_name="__main__")
finally:
    strangers = {name.split(".")[0] for name in sys.modules}
    strangers -= set(sys.stdlib_module_names) | {"checker", "numpy"}
    strangers = {name for name in strangers if not name.startswith(("_", "sitecustomize"))}
    sys.stderr.write(" ".join(sorted(strangers)))
"""


def test_a_copy_of_the_folder_works_by_itself(tmp_path: Path) -> None:
    shutil.copytree(Path(lipcert.checker.__file__).parent, tmp_path / "alone" / "checker")
    model = SAMPLES / "digits_relu_mlp.onnx"
    proof = tmp_path / "p.json"
    proof.write_bytes(prove(model).content)

    def run(*arguments: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", "-c", WATCHED, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=False,
        )

    import numpy

    site = tmp_path / "site"
    site.mkdir()
    home = Path(numpy.__file__).parent
    (site / "numpy").symlink_to(home)
    if (home.parent / "numpy.libs").exists():
        (site / "numpy.libs").symlink_to(home.parent / "numpy.libs")
    paths = [str(tmp_path / "alone"), str(site)]
    done = run(proof, model)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("proved: ‖f(x) − f(y)‖ ≤ 31.1812")
    assert done.stderr == ""
    other = run(proof, SAMPLES / "digits_lip_mlp.onnx")
    assert other.returncode == 1
    assert other.stdout.startswith("refuted: ")
    assert run(proof).returncode == 2
