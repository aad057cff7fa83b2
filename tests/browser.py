"""Pages as Chromium shows them: their text, their pictures, and whether they fit."""

import html
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CHROMIUM = (
    *(
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--hide-scrollbars",
        "--no-first-run",
    ),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

# A frame, because a window cannot be as narrow as a telephone.
FRAME = """
<!doctype html><meta charset="utf-8">
<body style="margin:0"><iframe style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<pre id="seen"></pre>
<script>
addEventListener("load", () => {{
  const shown = document.querySelector("iframe").contentDocument
  document.getElementById("seen").textContent = JSON.stringify({{
    text: shown.body.innerText,
    wide: shown.documentElement.scrollWidth,
    high: shown.documentElement.scrollHeight,
    beyond: [...shown.body.querySelectorAll("*")].filter(it => it.getBoundingClientRect().right > {width} + 1).length,
    sheets: shown.styleSheets.length,
  }})
}})
</script>
"""


def browse(address: str, *arguments: str, milliseconds: int = 5000) -> str:
    """Open an address in a browser that knows nothing yet, and return what it prints."""
    with tempfile.TemporaryDirectory(prefix="chromium-") as folder:
        shown = subprocess.run(
            [*CHROMIUM, f"--virtual-time-budget={milliseconds}", f"--user-data-dir={folder}", *arguments, address],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    return shown.stdout


def framed(page: str, width: int, height: int = 800) -> str:
    """Return a page that shows another one in a given width."""
    return FRAME.format(width=width, height=height, page=html.escape(page))


def seen(page: str, width: int, folder: Path) -> dict[str, Any]:
    """
    Show a page in a width and look at it.

    :returns: its ``text``; ``wide`` and ``high``, its whole size in pixels; how many elements reach ``beyond`` its width
    """
    file = folder / f"{width}.html"
    file.write_text(framed(page, width), encoding="utf-8")
    found = re.search(r'<pre id="seen">(.*?)</pre>', browse(file.as_uri(), "--dump-dom"), flags=re.DOTALL)
    assert found is not None
    looked: dict[str, Any] = json.loads(html.unescape(found.group(1)))
    return looked


def photograph(address: str, picture: Path, size: tuple[int, int], *arguments: str) -> None:
    """Draw a page into a PNG file."""
    width, height = size
    browse(address, f"--window-size={width},{height}", f"--screenshot={picture}", *arguments, milliseconds=8000)
