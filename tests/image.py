"""
A Dockerfile carried out without a container engine: every step but FROM, in a root of its own.

What FROM would bring is a Debian of this machine's kind from debootstrap, with its own Python, venv and pip: Debian 12
has Python 3.11 where the Dockerfile's base has 3.12. Each step runs in a mount namespace that ends with it, so nothing
stays mounted; only root may do that. Inside, pip finds what this machine's pip is told, from the environment.
"""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = "python3,python3-venv,python3-pip,python-is-python3,ca-certificates"
# What a container engine gives every container: names and addresses.
HOST_FILES: Final = ("etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/ssl/certs/ca-certificates.crt")
NETWORK: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
STEP_SECONDS: Final = 300
ENTER: Final = """
set -eu
mount -t proc proc "$ROOT/proc"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
for place in $PLACES; do
  if [ -d "$place" ]; then mkdir -p "$ROOT$place"
  else mkdir -p "$(dirname "$ROOT$place")"; [ -e "$ROOT$place" ] || touch "$ROOT$place"; fi
  mount --bind "$place" "$ROOT$place"
done
exec env -i "$@"
"""


@dataclass
class Stage:
    """One FROM and what its steps have made of it so far."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"})
    user: str = "0:0"
    folder: str = "/"
    command: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def entered(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, places: Sequence[str] = ()
    ) -> list[str]:
        """Return the words that run a command inside: as its user, in its folder, with its variables."""
        inside = [f"{name}={value}" for name, value in {**self.env, **(env or {})}.items()]
        # The folder is entered by the inner shell: chroot itself leaves everybody at the top.
        enter = ["sh", "-c", 'cd "$0" && exec "$@"', self.folder, *command]
        chroot = ["/usr/sbin/chroot", "--userspec", self.user, str(self.root), *enter]
        outer = ["env", f"ROOT={self.root}", f"PLACES={' '.join(places)}"]
        return [*outer, "unshare", "--mount", "sh", "-c", ENTER, "sh", *inside, *chroot]

    def run(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, places: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        words = self.entered(command, env, places)
        return subprocess.run(words, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)


def base(folder: Path) -> Path:
    """Make what FROM would bring: a Debian like this machine's, with Python and pip."""
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", _release(), str(folder), _mirror()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"debootstrap failed:\n{done.stdout[-2000:]}\n{done.stderr}"
    # In the image that FROM names, pip owns the system's Python.
    for marker in (folder / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for name in HOST_FILES:
        (folder / name).unlink(missing_ok=True)
        shutil.copyfile(f"/{name}", folder / name)
    return folder


def built(dockerfile: str, origin: Path, folder: Path) -> Stage:
    """Carry out a Dockerfile and return its last stage; a step that fails ends the test with what it printed."""
    stages: dict[str, Stage] = {}
    last = Stage(origin)
    for word, rest in instructions(dockerfile):
        if word == "FROM":
            last = Stage(folder / f"stage-{len(stages)}")
            subprocess.run(["cp", "-a", "--reflink=auto", str(origin), str(last.root)], check=True)
            stages[rest.partition(" AS ")[2] or str(len(stages))] = last
        else:
            _step(last, word, rest, stages)
    return last


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Cut a Dockerfile into instructions and what they say; a line that ends in a backslash goes on."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def _step(stage: Stage, word: str, rest: str, stages: Mapping[str, Stage]) -> None:
    """Carry out one instruction."""
    if word == "RUN":
        env, places = _pip()
        done = stage.run(["sh", "-c", rest], env, places)
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    elif word == "COPY":
        _copy(stage, shlex.split(rest), stages)
    elif word == "ENV":
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            stage.env[name] = re.sub(r"\$(\w+)", lambda found: stage.env.get(found[1], ""), value)
    elif word == "WORKDIR":
        stage.folder = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif word == "USER":
        stage.user = rest
    elif word == "STOPSIGNAL":
        stage.stop_signal = rest
    elif word == "CMD":
        stage.command = json.loads(rest)
    else:
        raise AssertionError(f"{word}: this instruction is not known to tests/image.py")


def _copy(stage: Stage, words: list[str], stages: Mapping[str, Stage]) -> None:
    """Copy from another stage, or from what .dockerignore leaves of this clone."""
    stage_name = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
    *sources, target = words
    place = stage.root / str(PurePosixPath(stage.folder, target)).lstrip("/")
    if stage_name:
        for source in sources:
            place.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", f"{stages[stage_name].root}{source}", str(place)], check=True)
        return
    for path in context():
        if any(source == "." or path.is_relative_to(source) for source in sources):
            to = place / (path if sources == ["."] else path.name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, to)


def context() -> list[PurePosixPath]:
    """List the files of this clone that .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [PurePosixPath(name) for name in found.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    return [path for path in paths if _sent(path, patterns)]


def _sent(path: PurePosixPath, patterns: Sequence[str]) -> bool:
    """Return whether a file goes into the build: the last pattern that names it or a folder above it decides."""
    sent = True
    for pattern in patterns:
        if any(_named(one, pattern.removeprefix("!")) for one in (path, *path.parents)):
            sent = pattern.startswith("!")
    return sent


def _named(path: PurePosixPath, pattern: str) -> bool:
    """Return whether a pattern names this file or folder."""
    if pattern.startswith("**/"):
        return fnmatchcase(path.name, pattern.removeprefix("**/"))
    return len(path.parts) == len(PurePosixPath(pattern).parts) and fnmatchcase(str(path), pattern)


def _pip() -> tuple[dict[str, str], list[str]]:
    """Return what this machine's pip is told, as variables, and the places of this machine that these name."""
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    pairs = [line.partition("=") for line in said.stdout.splitlines()]
    told = {
        f"PIP_{name.rpartition('.')[2].upper().replace('-', '_')}": " ".join(shlex.split(value))
        for name, _, value in pairs
    }
    folders = {folder for value in told.values() for word in value.split() for folder in _local(word)}
    network = {name: os.environ[name] for name in NETWORK if name in os.environ}
    return {**told, **network}, sorted(str(folder) for folder in folders)


def _local(word: str) -> list[Path]:
    """Return the folder of this machine that a word names, if it names one; an index links to files beside it."""
    path = Path(word.removeprefix("file://"))
    if not (path.is_absolute() and path.exists()):
        return []
    return [path if path.is_dir() and word.startswith("/") else path.parent]


def _release() -> str:
    """Return the code name of this machine's Debian."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _mirror() -> str:
    """Return where this machine takes its Debian packages from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [site for site, *rest in map(str.split, listed.stdout.splitlines()) if rest == [_release(), "main"]]
    assert found, "apt knows no mirror of this machine's Debian"
    return found[0]
