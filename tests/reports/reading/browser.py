"""The page in a browser: headless Chromium, with a probe added that clicks and looks.

The probe is put into a copy of the page, and its digest into the copy's policy: nothing else of the
policy is changed, so what the page may not do it does not do here either.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-budget=4000",
)
LIGHT, DARK = "1", "0"

START = """
const seen = { errors: [], refused: [] };
window.onerror = (message) => { seen.errors.push(String(message)); };
window.addEventListener("unhandledrejection", (e) => seen.errors.push(String(e.reason)));
document.addEventListener("securitypolicyviolation", (e) => seen.refused.push(e.blockedURI));
for (const level of ["error", "warn"]) console[level] = (...a) => seen.errors.push(a.join(" "));
"""
END = """
seen.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
seen.width = [document.documentElement.scrollWidth, window.innerWidth];
seen.dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.title = "done";
const told = document.createElement("output");
told.id = "probe";
told.textContent = JSON.stringify(seen);
document.body.append(told);
"""

Look = Callable[..., Any]


def digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def probed(page: str, probe: str) -> str:
    """The page with a script before and a script after its own."""
    last = f"{{ {probe} {END} }}"
    hashes = " ".join(f"'{digest(script)}'" for script in (START, last))
    page = page.replace("script-src ", f"script-src {hashes} ", 1)
    page = page.replace("<style>", f"<script>{START}</script><style>", 1)
    return page.replace("</body>", f"<script>{last}</script></body>", 1)


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """What a probe sees; with ``width`` in a frame of that many pixels."""

    def run(page: str, probe: str = "", *, width: int | None = None, scheme: str = LIGHT) -> Any:
        target = tmp_path / "page.html"
        target.write_text(probed(page, probe), encoding="utf-8")
        if width is not None:
            target = framed(tmp_path, width)
        assert CHROMIUM is not None
        command = [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={scheme}",
            "--dump-dom",
            target.as_uri(),
        ]
        if width is not None:
            command.insert(1, "--allow-file-access-from-files")
        done = subprocess.run(command, capture_output=True, timeout=120, check=True)
        found = re.search(r'<output id="probe">(.*?)</output>', done.stdout.decode(), re.DOTALL)
        assert found, done.stderr.decode()[-2000:]
        seen = json.loads(html.unescape(found[1]))
        seen["console"] = re.findall(r".*CONSOLE.*", done.stderr.decode())
        return seen

    return run


def framed(folder: Path, width: int) -> Path:
    """A page that shows the other one in a narrow frame, and repeats what its probe told."""
    outer = folder / "frame.html"
    outer.write_text(
        f'<!DOCTYPE html><title>frame</title><iframe src="page.html" width="{width}" height="800">'
        "</iframe><script>onload = () => document.body.append("
        "document.querySelector('iframe').contentDocument.getElementById('probe'));</script>",
        encoding="utf-8",
    )
    return outer
