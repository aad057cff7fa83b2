"""The ready email in a real browser: what it says is read on a desk and on a telephone."""

from datetime import UTC, date, datetime

import browser
import days
import pytest

from worker.letter import Letter, compose

NOW = datetime(2026, 5, 4, 7, tzinfo=UTC)


def body(name: str) -> str:
    """Compose a mail about an audience and return its HTML."""
    letter = Letter(
        audience_name=name,
        data_date=date(2026, 5, 3),
        count=1_234_567,
        seniorities=[("c_suite", 1_000_000), ("", 234_567)],
        industries=[("Hospitals and health care, and whatever else is written into an industry's name", 1_234_567)],
        download="https://audiences.example.com/v1/intent/downloads/token",
        until=NOW,
        has_file=True,
        unsubscribe="https://audiences.example.com/v1/intent/unsubscribe/token",
    )
    message = compose(letter, sender="a@example.com", recipient=days.RECIPIENT, message_id="<1@example.com>", now=NOW)
    part = message.get_body(("html",))
    assert part is not None
    content: str = part.get_content()
    return content


@pytest.mark.parametrize("width", [1280, 390])
def test_a_mail_fits_however_long_its_names_are(tmp_path, width):
    """Names, counts and the button are on the page, and nothing reaches beyond it."""
    looked = browser.seen(body(days.UNBROKEN), width, tmp_path)
    wanted = [days.UNBROKEN, "1,234,567", "C-suite", "Not known", "Download the list", "Stop these messages"]

    assert (width, 0) == (looked["wide"], looked["beyond"])
    assert [] == [said for said in wanted if said not in looked["text"]]
