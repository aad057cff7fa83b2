"""
Take the pictures of the documentation from a real demo: ``make screenshots``.

The demo runs in a terminal of its own (tmux); its screen is drawn by rich, and Chromium turns it, Flower's pages, the
report of the day and a mail into PNG files.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from email import message_from_bytes, policy
from pathlib import Path

import browser
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
COLUMNS, LINES = 132, 44
MOST_BYTES = 200_000


def main() -> None:
    """Run the demo, take its pictures on the way, and stop it."""
    folder = Path(tempfile.mkdtemp(prefix="shots-"))
    demo = f"{ROOT}/.venv/bin/audience-worker demo --keep --folder {folder}/demo {' '.join(sys.argv[1:])}"
    _tmux("new-session", "-d", "-s", "demo", "-x", str(COLUMNS), "-y", str(LINES), demo)
    try:
        midway = _awaited(lambda screen: re.search(r"\b(9|1\d) completed", screen))
        _picture_of_screen(midway, folder, "demo")
        end = _awaited(lambda screen: "Everything stays up" in screen)
        address = re.search(r"Flower: (http://127\.0\.0\.1:\d+)", _plain(end))
        if address is None:
            sys.exit("The summary names no address of Flower.")
        _picture_of_page(f"{address.group(1)}/tasks", "flower", (1400, 900))
        _picture_of_page(f"{address.group(1)}/workers", "flower-workers", (1280, 620))
        _picture_of_html(_report(folder), "report", folder, 1280)
        _picture_of_html(_mail(folder), "mail", folder, 640)
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
    _picture_of_page(page.as_uri(), name, (width, height))


def _report(folder: Path) -> str:
    """Let the command tell the demo's day, with the demo's environment."""
    page = folder / "report.html"
    command = f". {folder}/demo/environment && {ROOT}/.venv/bin/audience-worker report --to {page}"
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    return page.read_text(encoding="utf-8")


def _mail(folder: Path) -> str:
    """Take the HTML of a mail that names many people, out of the demo's mailbox."""
    found = []
    for file in (folder / "demo" / "mail" / "mailbox" / "new").glob("*.eml"):
        body = message_from_bytes(file.read_bytes(), policy=policy.default).get_body(("html",))
        if body is not None:
            found.append(body.get_content())
    return max(found, key=len)


def _picture_of_html(page: str, name: str, folder: Path, width: int) -> None:
    """Draw a page at its whole height."""
    looked = browser.seen(page, width, folder)
    file = folder / f"{name}.html"
    file.write_text(page, encoding="utf-8")
    _picture_of_page(file.as_uri(), name, (width, looked["high"]))


def _picture_of_page(address: str, name: str, size: tuple[int, int]) -> None:
    """Let Chromium draw a page into docs/images, small enough for a repository."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    picture = IMAGES / f"{name}.png"
    browser.photograph(address, picture, size)
    subprocess.run(["pngquant", "--force", "--ext", ".png", str(picture)], check=True)
    if picture.stat().st_size >= MOST_BYTES:
        sys.exit(f"{picture} has {picture.stat().st_size:,} bytes; draw it smaller.")
    sys.stdout.write(f"docs/images/{name}.png\n")


def _plain(screen: str) -> str:
    """A screen without its colours."""
    return Text.from_ansi(screen).plain


def _tmux(*arguments: str) -> str:
    """Ask tmux."""
    return subprocess.run(["tmux", *arguments], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
