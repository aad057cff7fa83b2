"""The line that goes wrong on purpose, before anybody relies on it to go wrong."""

import socket
import socketserver
import threading
import time

import pytest
from chaos.proxy import END_OF_DATA, Proxy

from local.process import HOST


class Echo(socketserver.BaseRequestHandler):
    """Answers everything with itself, and remembers it."""

    def handle(self):
        """Answer until the other side ends."""
        while heard := self.request.recv(100):
            self.server.heard.append(heard)
            self.request.sendall(heard)


@pytest.fixture
def server():
    """A server that repeats what it hears."""
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer((HOST, 0), Echo) as echo:
        echo.daemon_threads, echo.heard = True, []
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        yield echo
        echo.shutdown()


@pytest.fixture
def proxy(server):
    """A line to it; a dot on a line of its own is a message whose answer may be lost."""
    with Proxy(server.server_address[1], sign=END_OF_DATA) as line:
        yield line


@pytest.fixture
def client(proxy):
    """A connection along the line."""
    with socket.create_connection((HOST, proxy.port), timeout=1) as connection:
        yield connection


def said(client: socket.socket, text: bytes = b"hello\n") -> bytes:
    """Say something and return the answer; b"" where the connection was broken."""
    client.sendall(text)
    try:
        return client.recv(len(text), socket.MSG_WAITALL)
    except ConnectionResetError:
        return b""


def test_a_line_forwards(client):
    """Without orders it is a line like any other."""
    assert b"hello\n" == said(client)


def test_a_half_open_line_takes_words_and_answers_nothing(proxy, client, server):
    """The old connection stays silent for good without being closed, and a new one works."""
    assert (b"hello\n", 1) == (said(client), proxy.half_open())

    with pytest.raises(TimeoutError):
        said(client, b"again\n")
    with socket.create_connection((HOST, proxy.port), timeout=1) as other:
        assert b"other\n" == said(other, b"other\n")
    assert [b"hello\n", b"other\n"] == server.heard


def test_a_deaf_line_holds_words_back_until_it_hears_again(proxy, client):
    """Nobody is answered while it is deaf, and what was said meanwhile arrives late."""
    proxy.deafen()
    with pytest.raises(TimeoutError):
        said(client, b"early\n")
    proxy.hear()

    assert b"early\n" == client.recv(100)


def test_a_cut_line_ends(proxy, client):
    """Whoever held a connection hears that it is over."""
    assert (b"hello\n", 1, b"") == (said(client), proxy.cut(), said(client))


@pytest.mark.parametrize(("what", "heard"), [("answer", [b"hello\r\n.\r\n"]), ("message", [])])
def test_a_message_or_its_answer_is_lost_once(proxy, client, server, what, heard):
    """The server acted on the message, or never saw it, and whoever sent it cannot tell which."""
    proxy.lose(what, 1)

    assert (b"", 1, heard) == (said(client, b"hello\r\n.\r\n"), proxy.lost, server.heard)
    with socket.create_connection((HOST, proxy.port), timeout=1) as other:
        assert b"hello\r\n.\r\n" == said(other, b"hello\r\n.\r\n")


@pytest.mark.parametrize(("text", "slow"), [(b"hello\n", False), (b"hello\r\n.\r\n", True)])
def test_the_answer_to_a_message_can_take_its_time(server, text, slow):
    """Messages of the sign are answered late, and nothing else is."""
    proxy = Proxy(server.server_address[1], sign=END_OF_DATA, delay=0.5)
    with proxy, socket.create_connection((HOST, proxy.port), timeout=2) as client:
        began = time.monotonic()
        assert text == said(client, text)

    assert slow == (time.monotonic() - began >= 0.5)
