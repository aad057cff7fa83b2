"""Exports and mails whose process is killed, stopped or refused at the worst moment, with real signals."""

import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker import emails, exports
from worker.database import transaction

ADA = ("ada@example.com",)
WORK = "from worker import announce; announce.announce('killed', seconds=30, stopping=lambda: False)"


@pytest.fixture
def beside(stores):
    """Ring the bell once in a process of its own, whose end is waited for; it leads to the settings of this test."""
    started = []

    def start(before=None):
        command = [sys.executable, "-c", WORK]
        # The environment of this process: the test has pointed it to its own stores.
        started.append(subprocess.Popen(command, preexec_fn=before, stderr=subprocess.DEVNULL))  # noqa: PLW1509
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def kill_at(script, verb, process, first=signal.SIGKILL):
    """End the process when the mail server hears a verb: before it answers, or with the answer unread."""

    def act():
        del script.before[verb]
        os.kill(process().pid, first)

    script.before[verb] = act


def test_a_process_killed_after_the_export_and_before_the_mail_loses_neither(
    completed, script, work, rescue_later, beside
):
    """The file is stored once, and the mail is sent once, by whoever comes next."""
    run = completed(3, recipients=ADA)
    processes = []
    kill_at(script, "EHLO", lambda: processes[0])
    processes.append(beside())
    ended = processes[0].wait(timeout=60)
    stored, statuses = run.export(), run.statuses()

    rescued = rescue_later()
    run.change_mails(due_at=datetime.now(UTC))
    work()

    assert (-signal.SIGKILL, "completed", ["pending"]) == (ended, stored["status"], statuses)
    assert (0, 1) == (rescued["exports_retried"], rescued["mails_retried"])
    assert (["sent"], 1) == (run.statuses(), len(script.texts))
    assert stored == run.export()


def test_a_process_killed_between_the_reply_and_the_commit_is_never_followed_by_a_second_mail(
    completed, script, work, rescue_later, beside
):
    """The server has taken the message and said so, nobody has written it down: unknown, and left alone."""
    run = completed(3, recipients=ADA)
    processes = []
    kill_at(script, "TEXT", lambda: processes[0], first=signal.SIGSTOP)
    processes.append(beside())
    os.waitid(os.P_PID, processes[0].pid, os.WSTOPPED)
    processes[0].kill()
    processes[0].wait(timeout=60)
    before = run.statuses()

    rescued = rescue_later()
    run.change_mails(due_at=datetime.now(UTC))
    work()

    assert (["sending"], 1) == (before, rescued["mails_unknown"])
    assert (["unknown"], 1) == (run.statuses(), len(script.texts))
    assert emails.UNKNOWN == run.told()[2]


def test_a_disk_that_fills_up_in_mid_upload_leaves_no_file(completed, work, beside, stores, rescue_later):
    """The export waits uncharged, nothing is offered or left lying, and it is made whole once there is room."""
    run = completed(4000)

    def cramped():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    ended = beside(cramped).wait(timeout=60)
    refused = run.export()
    left = [path for path in Path(stores.folder, "exports").rglob("*") if path.is_file()]
    with transaction() as connection:
        connection.exec_driver_sql("UPDATE exports SET due_at = now()")
    work()

    assert (0, []) == (ended, left)
    assert ("processing", 0, "STORAGE_UNAVAILABLE") == tuple(refused[it] for it in ("status", "failures", "error_code"))
    assert ("completed", 4000) == tuple(run.export()[it] for it in ("status", "row_count"))


def test_a_pass_of_the_rescuer_is_bounded(completed):
    """So many exports and mails at most are taken back at once, and the next pass takes the rest."""
    runs = [completed(1, recipients=ADA) for _ in range(3)]
    with transaction() as connection:
        for _ in runs:
            exports.claim(connection, "killed", lease_seconds=-1)
    files = [pass_of(exports.expired, budget=8) for _ in range(3)]
    for run in runs:
        run.give_file_up()
    with transaction() as connection:
        emails.claim(connection, "killed", wanted=3, lease_seconds=-1)
    mails = [pass_of(emails.expired, hours=24) for _ in range(3)]

    assert ([2, 1, 0], [2, 1, 0]) == (files, mails)


def pass_of(expired, **options):
    """Take back at most two, and return how many go on."""
    with transaction() as connection:
        return expired(connection, limit=2, **options)["retried"]
