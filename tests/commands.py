"""The commands that documents show: fenced blocks of bash and console, line by line."""

import re
import shlex
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCES = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL = {"", "bash", "console"}
ENDS = set("|&;<>()")
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def blocks(page: Path) -> list[str]:
    """Return the blocks of a page that hold commands; a fence that names no language may hold some, too."""
    return [block for language, block in FENCES.findall(page.read_text(encoding="utf-8")) if language in SHELL]


def spans(page: Path) -> list[str]:
    """Return what stands in the page's sentences as code, a line each."""
    sentences = FENCES.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in INLINE.findall(sentences)]


def calls(program: str, besides: Collection[str] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """
    Return every call of a program in any block or sentence of any page: the page's name, the words after the program.

    :param besides: blocks that are left out
    """
    return [
        (page.name, words)
        for page in PAGES
        for block in (*blocks(page), *spans(page))
        if block not in besides
        for line in block.replace("\\\n", " ").splitlines()
        for words in _calls(line, program)
    ]


def _calls(line: str, program: str) -> list[tuple[str, ...]]:
    """Find a program's calls in one line of shell, each up to where its command ends."""
    found = []
    for start in re.finditer(rf"(?:^|[\s(]){program} ", line):
        try:
            lexer = shlex.shlex(line[start.end() :], posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            continue
        end = next((place for place, word in enumerate(words) if set(word) <= ENDS), len(words))
        found.append(tuple(words[:end]))
    return found
