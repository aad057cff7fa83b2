"""
Take the pictures of the documentation from a real demo: ``make screenshots``.

The demo runs in a terminal of its own (tmux); its screen is drawn by rich, and Chromium turns it and Flower's pages
into PNG files.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
COLUMNS, LINES = 132, 44
CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=8000",
)


def main() -> None:
    """Run the demo, take its pictures on the way, and stop it."""
    folder = Path(tempfile.mkdtemp(prefix="shots-"))
    demo = f"{ROOT}/.venv/bin/audience-worker demo --keep --folder {folder}/demo {' '.join(sys.argv[1:])}"
    _tmux("new-session", "-d", "-s", "demo", "-x", str(COLUMNS), "-y", str(LINES), demo)
    try:
        midway = _awaited(lambda screen: "10 completed" in screen)
        _picture_of_screen(midway, folder, "demo")
        end = _awaited(lambda screen: "Everything stays up" in screen)
        address = re.search(r"http://127\.0\.0\.1:\d+", _plain(end))
        if address is None:
            sys.exit("The summary names no address of Flower.")
        # The drains at the end are what one wants to see: their results say what became of the runs.
        _picture_of_page(f"{address.group()}/tasks?search=drain", "flower", folder, "1400,900")
        _picture_of_page(f"{address.group()}/workers", "flower-workers", folder, "1280,620")
        _tmux("send-keys", "-t", "demo", "C-c")
        while subprocess.run(["tmux", "has-session", "-t", "demo"], capture_output=True, check=False).returncode == 0:
            time.sleep(0.5)
    finally:
        subprocess.run(["tmux", "kill-session", "-t", "demo"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _awaited(seen) -> str:
    """Poll the terminal until its screen shows something, and return the screen with its colours."""
    until = time.monotonic() + 400
    while time.monotonic() < until:
        screen = _tmux("capture-pane", "-p", "-e", "-t", "demo")
        if seen(_plain(screen)):
            return screen
        time.sleep(0.3)
    sys.exit(f"The demo never showed it. Its screen:\n{_plain(screen)}")


def _picture_of_screen(screen: str, folder: Path, name: str) -> None:
    """Draw a terminal's screen as it is."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(screen.rstrip()), end="")
        svg = console.export_svg(title="make demo")
    height, width = (
        round(float(number)) for number in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()[::-1]
    )
    page = folder / f"{name}.html"
    page.write_text(f"<body style='margin:0'>{svg}</body>", encoding="utf-8")
    _picture_of_page(page.as_uri(), name, folder, f"{width},{height}")


def _picture_of_page(address: str, name: str, folder: Path, size: str) -> None:
    """Let Chromium draw a page into docs/images."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *CHROMIUM,
            f"--user-data-dir={folder}/chromium",
            f"--window-size={size}",
            f"--screenshot={IMAGES / name}.png",
            address,
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    sys.stdout.write(f"docs/images/{name}.png\n")


def _plain(screen: str) -> str:
    """A screen without its colours."""
    return Text.from_ansi(screen).plain


def _tmux(*arguments: str) -> str:
    """Ask tmux."""
    return subprocess.run(["tmux", *arguments], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
