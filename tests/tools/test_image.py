"""The Dockerfile's steps, carried out in a clean Debian, and what they made, started as its own user."""

import os
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import image
import pytest

PROJECT = tomllib.loads((image.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PATIENCE_SECONDS = 90


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[image.Stage]:
    """The image that the Dockerfile describes."""
    if os.geteuid() != 0:
        pytest.fail("Only root can carry out the Dockerfile: it needs debootstrap, chroot and mounts.")
    folder = tmp_path_factory.mktemp("image")
    yield image.built((image.ROOT / "Dockerfile").read_text(), image.base(folder / "base"), folder)
    shutil.rmtree(folder)


def test_the_image_holds_the_program_and_nothing_its_user_could_change(made: image.Stage) -> None:
    """Its user has the command line, may write exports alone, and finds neither pip nor a compiler beside it."""
    version = made.run(["audience-worker", "--version"])
    writable = made.run(["find", "/opt/venv", "/usr", "/etc", "-xdev", "-writable", "-not", "-type", "l", "-print"])
    mine = made.run(["sh", "-c", "id -u && pwd && touch exports/a && ls /src /opt/venv/bin/pip; command -v cc"])

    assert (version.returncode, version.stdout) == (0, f"{PROJECT['version']}\n"), version.stderr
    assert writable.stdout == ""
    assert mine.stdout.split() == ["10001", "/var/lib/audience-worker"], mine.stderr
    assert mine.stderr.count("No such file or directory") == 2, mine.stderr


def test_the_command_of_the_image_hears_its_bells_and_leaves_when_told(made: image.Stage, stores, tmp_path) -> None:
    """Started as the image's user against real servers, the worker is healthy; the stop signal ends it with code 0."""
    settings = {**stores.environment, "STORAGE_URL": "file:///var/lib/audience-worker/exports"}
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        worker = subprocess.Popen(made.entered(made.command, settings), stdout=out, stderr=subprocess.STDOUT)
        try:
            _healthy(made, settings, worker, log)
            worker.send_signal(signal.Signals[made.stop_signal])
            code = worker.wait(PATIENCE_SECONDS)
        finally:
            worker.kill()

    assert code == 0, log.read_text()


def _healthy(made: image.Stage, settings: dict[str, str], worker: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the health check of the compose file says that the worker is well."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and worker.poll() is None:
        if made.run(["audience-worker", "health", "daily"], settings).returncode == 0:
            return
    pytest.fail(f"the worker was not healthy within {PATIENCE_SECONDS} s:\n{log.read_text()}")
