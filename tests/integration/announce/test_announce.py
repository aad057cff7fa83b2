"""The whole announcement: the file, the mails, and what becomes of them when something breaks."""

from worker import announce


def never() -> bool:
    """Nobody asks this process to leave."""
    return False


def test_a_completed_run_is_stored_and_announced_once(completed, mailbox) -> None:
    """Each recipient gets one message, the file holds every row, and a second bell finds nothing to do."""
    run = completed(5, recipients=("ada@example.com", "bob@example.com"))

    done = announce.announce("w", seconds=30, stopping=never)
    again = announce.announce("w", seconds=30, stopping=never)

    assert (done["exports_completed"], done["mails_sent"]) == (1, 2)
    assert {key for key, value in again.items() if value} <= {"seconds"}
    assert sorted(str(message["To"]) for message in mailbox()) == ["ada@example.com", "bob@example.com"]
    assert run.export()["row_count"] == 5
