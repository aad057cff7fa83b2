"""Requests to stop, real signals to this very process, held back while something must not be cut in two."""

import os
import signal
import subprocess
import sys

import pytest

from local.interrupts import STOPPING, held


@pytest.fixture(params=STOPPING, ids=lambda number: number.name)
def number(request):
    """A signal that ends as KeyboardInterrupt, as it does in a demo."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


def interrupted(steps) -> bool:
    """Whether some steps end by KeyboardInterrupt."""
    try:
        steps()
    except KeyboardInterrupt:
        return True
    return False


def test_a_request_waits_until_it_is_let_in(number):
    """What follows the signal is still done, and nothing after the place where it may come in."""
    done = []

    def steps() -> None:
        with held() as let_in:
            let_in()
            os.kill(os.getpid(), number)
            done.append("within")
            let_in()
            done.append("too much")

    assert (True, ["within"]) == (interrupted(steps), done)
    assert signal.default_int_handler == signal.getsignal(number)


def test_a_request_comes_in_at_the_end(number):
    """Who never lets it in ends what was begun, and no more."""
    done = []

    def steps() -> None:
        with held():
            os.kill(os.getpid(), number)
            done.append("within")
        done.append("too much")

    assert (True, ["within"]) == (interrupted(steps), done)


def test_the_second_request_does_not_wait(number):
    """A server that never answers does not keep anybody who insists."""
    done = []

    def steps() -> None:
        with held():
            os.kill(os.getpid(), number)
            done.append("within")
            os.kill(os.getpid(), number)
            done.append("too much")

    assert (True, ["within"]) == (interrupted(steps), done)
    assert signal.default_int_handler == signal.getsignal(number)


def test_a_failure_is_not_hidden_by_a_request(number):
    """What went wrong is said, whoever asked for the end meanwhile."""

    def steps() -> None:
        with held():
            os.kill(os.getpid(), number)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        steps()


def test_what_a_shell_has_switched_off_stays_off():
    """A program in the background of a script does not hear the Ctrl-C that is meant for another."""
    program = (
        "import os, signal; from local.interrupts import held\n"
        "with held(): os.kill(os.getpid(), signal.SIGINT)\n"
        "print('done')"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    finally:
        signal.signal(signal.SIGINT, before)

    assert (0, "done\n", "") == (ended.returncode, ended.stdout, ended.stderr)
