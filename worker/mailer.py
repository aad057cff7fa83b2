"""
How mail leaves: over SMTP, or as files into a folder.

One message goes to one recipient. The caller is told right before the text is handed over, because from there on a
broken line leaves open whether the message arrived.
"""

import contextlib
import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit
from uuid import uuid4

from worker import log, settings
from worker.errors import WorkerError

logger = log.get(__name__)

PORTS: Final = {"tls": 465, "starttls": 587, "none": 25}
OK: Final = 250
ACCEPTED: Final = (250, 251)
GO_AHEAD: Final = 354
PERMANENT: Final = range(500, 600)
ADDRESS: Final = re.compile(r"[^\s<>@]+@[^\s<>,;]+|\[[0-9a-fA-F.:]+\]|\b\d{1,3}(?:\.\d{1,3}){3}\b")
LONGEST_REPLY: Final = 300


class NotSent(WorkerError):
    """
    The message was certainly not taken.

    :param reply: the server's words, or ours, without addresses
    :param code: SMTP reply code; None when there was no reply
    :param permanent: whether trying again is pointless
    :param everyone: whether other messages would fare no better now
    """

    def __init__(self, reply: str, *, code: int | None = None, permanent: bool = False, everyone: bool = False) -> None:
        self.reply = reply
        self.code = code
        self.permanent = permanent
        self.everyone = everyone
        super().__init__(reply)


class Unanswered(WorkerError):
    """The message was handed over, and the line broke before the server said whether it took it."""


class Outbox(Protocol):
    """Where messages are put, one by one."""

    def send(self, message: EmailMessage, recipient: str, before_data: Callable[[], None]) -> None:
        """
        Send one message to one recipient.

        :param before_data: called once the recipient is accepted and before the text is handed over; what it raises
            ends the conversation without a message
        :raises NotSent: when the message was certainly not taken
        :raises Unanswered: when nobody can tell
        """

    def check(self) -> None:
        """
        Make sure that a message could be put here now, without putting one.

        :raises NotSent: when none could
        """


@contextlib.contextmanager
def outbox() -> Iterator[Outbox]:
    """Open the outbox of the settings; nothing connects before the first message."""
    url = urlsplit(settings.current().mail_url.get_secret_value())
    if url.scheme == "file":
        yield Folder(Path(unquote(url.path)))
        return
    server = Server(url)
    try:
        yield server
    finally:
        server.leave()


class Folder:
    """An outbox that writes each message as one .eml file, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message: EmailMessage, recipient: str, before_data: Callable[[], None]) -> None:
        """Write one message, named by its Message-ID: a second writing replaces the first."""
        name = re.sub(r"[^A-Za-z0-9.@-]", "", str(message["Message-ID"]))
        aside = self._folder / f".{uuid4()}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside.write_bytes(message.as_bytes(policy=_policy(recipient)))
        except OSError as error:
            raise NotSent("The mail folder cannot be written.", everyone=True) from error
        try:
            before_data()
            aside.replace(self._folder / f"{name}.eml")
        finally:
            aside.unlink(missing_ok=True)

    def check(self) -> None:
        """Write nothing and remove it again."""
        aside = self._folder / f".{uuid4()}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside.touch()
            aside.unlink()
        except OSError as error:
            raise NotSent("The mail folder cannot be written.", everyone=True) from error


class Server:
    """An outbox that speaks SMTP; one connection serves many messages, a broken one is made anew."""

    def __init__(self, url: SplitResult) -> None:
        self._url = url
        self._smtp: smtplib.SMTP | None = None

    def send(self, message: EmailMessage, recipient: str, before_data: Callable[[], None]) -> None:
        """Send one message; see :meth:`Outbox.send`."""
        text = message.as_bytes(policy=_policy(recipient))
        try:
            smtp = self._connected()
            self._envelope(smtp, recipient)
            before_data()
            self._deliver(smtp, text)
        except BaseException:
            # Whatever state the conversation is in, the next message starts a new one.
            self._drop()
            raise

    def check(self) -> None:
        """Connect, encrypt and log in."""
        self._connected()

    def leave(self) -> None:
        """Say goodbye, if anybody is listening."""
        if self._smtp is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
        self._drop()

    def _drop(self) -> None:
        """Close the connection without a word."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    def _connected(self) -> smtplib.SMTP:
        """Return a connection that answers."""
        if self._smtp is not None and not _answers(self._smtp):
            self._drop()
        if self._smtp is None:
            with _trouble():
                self._smtp = self._open()
        return self._smtp

    def _open(self) -> smtplib.SMTP:
        """Connect, encrypt and log in as the settings say."""
        current = settings.current()
        host, port = self._url.hostname or "localhost", self._url.port or PORTS[current.mail_tls]
        # We greet by the sender's domain: the name of this machine is nobody's business.
        name = parseaddr(current.mail_from)[1].rpartition("@")[2] or "localhost"
        context = ssl.create_default_context()
        if current.mail_tls == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, port, name, timeout=current.mail_seconds, context=context)
        else:
            smtp = smtplib.SMTP(host, port, name, timeout=current.mail_seconds)
        with contextlib.ExitStack() as stack:
            stack.callback(smtp.close)
            if current.mail_tls == "starttls":
                smtp.starttls(context=context)
            smtp.ehlo_or_helo_if_needed()
            if self._url.username:
                smtp.login(unquote(self._url.username), unquote(self._url.password or ""))
            stack.pop_all()
        return smtp

    def _envelope(self, smtp: smtplib.SMTP, recipient: str) -> None:
        """Name sender and recipient."""
        sender = parseaddr(settings.current().mail_from)[1]
        options = ("SMTPUTF8",) if _policy(recipient).utf8 else ()
        if options and not smtp.has_extn("smtputf8"):
            raise NotSent("The mail server takes no addresses outside ASCII.", permanent=True)
        with _trouble():
            code, reply = smtp.mail(sender, options)
            if code != OK:
                # The sender is ours: whatever the server has against it concerns every message.
                raise NotSent(_masked(reply), code=code, everyone=True)
            code, reply = smtp.rcpt(recipient)
            if code not in ACCEPTED:
                raise _refused(code, reply)

    def _deliver(self, smtp: smtplib.SMTP, text: bytes) -> None:
        """Send the text and wait for the answer that settles the matter."""
        with _trouble():
            code, reply = smtp.docmd("DATA")
            if code != GO_AHEAD:
                raise _refused(code, reply)
        try:
            smtp.send(re.sub(rb"(?m)^\.", b"..", text) + b".\r\n")
            code, reply = smtp.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise Unanswered from error
        if code != OK:
            raise _refused(code, reply)


def _policy(recipient: str) -> "policy.EmailPolicy[EmailMessage]":
    """Return how a message is written down: in ASCII, unless an address cannot be."""
    ours = parseaddr(settings.current().mail_from)[1]
    return policy.SMTP if (ours + recipient).isascii() else policy.SMTPUTF8


def _answers(smtp: smtplib.SMTP) -> bool:
    """Whether a kept connection still serves."""
    try:
        return smtp.noop()[0] == OK
    except (OSError, smtplib.SMTPException):
        return False


@contextlib.contextmanager
def _trouble() -> Iterator[None]:
    """Translate what goes wrong with the connection; none of it is one recipient's fault."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        logger.warning("mail_server_refused", code=error.smtp_code)
        raise NotSent(_masked(error.smtp_error), code=error.smtp_code, everyone=True) from error
    except (OSError, smtplib.SMTPException) as error:
        logger.warning("mail_server_unreachable", kind=type(error).__name__)
        raise NotSent("The mail server does not answer as it should.", everyone=True) from error


def _refused(code: int, reply: bytes) -> NotSent:
    """Turn a reply to one recipient or text into an error."""
    # 421 closes the connection: it speaks of the server, whatever it was asked.
    return NotSent(_masked(reply), code=code, permanent=code in PERMANENT, everyone=code == 421)  # noqa: PLR2004


def _masked(reply: bytes | str) -> str:
    """Return a reply without addresses or control characters, of bounded length."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    words = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return ADDRESS.sub("…", words)[:LONGEST_REPLY]
