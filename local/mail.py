"""
A mailbox that keeps what it got: every message accepted over SMTP becomes one file, with its envelope.

``python -m local.mail MAILBOX PORT`` is the server. A message is written aside and moved into ``new`` once it is
whole, so that whoever lists ``new`` never sees half of one.
"""

import asyncio
import secrets
import smtplib
import sys
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import ClassVar

from aiosmtpd.smtp import SMTP, Envelope, Session

from local.process import HOST, Server

SENDER = "X-MailFrom"
RECIPIENT = "X-RcptTo"


class Mail(Server):
    """An SMTP server without encryption or log-in that accepts every message."""

    name: ClassVar[str] = "Mail"

    @property
    def url(self) -> str:
        """Where mail is sent to."""
        return f"smtp://{HOST}:{self.port}"

    @property
    def mailbox(self) -> Path:
        """The folder that holds one .eml file a message, named so that they sort by arrival."""
        return self.folder / "mailbox" / "new"

    def environment(self) -> dict[str, str]:
        """MAIL_URL, and MAIL_TLS because it speaks plain SMTP."""
        return {"MAIL_URL": self.url, "MAIL_TLS": "none"}

    def prepare(self) -> None:
        """Make the mailbox."""
        for part in ("tmp", "new"):
            (self.folder / "mailbox" / part).mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """The module itself, as a program."""
        return [sys.executable, "-m", "local.mail", str(self.folder / "mailbox"), str(self.port)]

    def answers(self) -> bool:
        """Whether it greets."""
        try:
            with smtplib.SMTP(HOST, self.port, timeout=2) as session:
                return session.noop()[0] == 250  # noqa: PLR2004 - SMTP's own word for yes
        except (OSError, smtplib.SMTPException):
            return False

    def messages(self) -> list[EmailMessage]:
        """Every message received so far, oldest first; see :func:`recipients` for its envelope."""
        files = sorted(self.mailbox.glob("*.eml"))
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


def recipients(message: EmailMessage) -> list[str]:
    """Whom the envelope of a received message named."""
    return [str(value) for value in message.get_all(RECIPIENT, [])]


class Keeper:
    """Writes each accepted message into a mailbox."""

    def __init__(self, mailbox: Path) -> None:
        self.mailbox = mailbox

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its caller's
        """Store one message, its envelope on top as headers."""
        lines = [f"{SENDER}: {envelope.mail_from}", *(f"{RECIPIENT}: {address}" for address in envelope.rcpt_tos)]
        content = envelope.content or b""
        body = content if isinstance(content, bytes) else content.encode()
        self._write("".join(f"{line}\r\n" for line in lines).encode() + body)
        return "250 OK"

    def _write(self, text: bytes) -> None:
        """Write aside, then move into place in one step."""
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.eml"
        (self.mailbox / "tmp" / name).write_bytes(text)
        (self.mailbox / "tmp" / name).rename(self.mailbox / "new" / name)


async def serve(mailbox: Path, port: int) -> None:
    """Accept mail until the process ends."""
    keeper = Keeper(mailbox)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(keeper, enable_SMTPUTF8=True, hostname="localhost"), HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
