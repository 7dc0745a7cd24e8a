"""Raw sockets: requests that no HTTP library would send."""

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 60
"""Seconds that a wait may take on a slow machine; on a usual machine no wait comes near."""


class Client:
    """One connection to a server, by its URL."""

    def __init__(self, url, *, receive=None):
        address = urlsplit(url)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive is not None:  # a small window: unread bytes stay with the server
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((address.hostname, address.port))
        self._rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def pour(self, piece, most):
        """Send a piece again and again, up to so many bytes; return how many were taken."""
        sent = 0
        try:
            while sent < most:
                sent += self.socket.send(piece)
        except OSError:
            pass
        return sent

    def _more(self):
        piece = self.socket.recv(2**16)
        self._rest += piece
        return piece

    def answer(self):
        """Return the next answer: status, headers, body."""
        while b"\r\n\r\n" not in self._rest:
            assert self._more(), f"cut off after {self._rest!r}"
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        length = int(headers.get("content-length", 0))
        while len(self._rest) < length:
            assert self._more(), "cut off within a body"
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(status.split()[1]), headers, body

    def refused(self):
        """Return status and code of the next answer: a problem, after which the server reads nothing more."""
        status, headers, body = self.answer()
        problem = json.loads(body)
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert problem.keys() == {"type", "title", "status", "detail", "instance", "code"}
        assert problem["instance"] == f"urn:uuid:{headers['x-request-id']}"
        assert problem["status"] == status
        return status, problem["code"]

    def ends(self):
        """Wait until the server has closed the connection; return the bytes that came before."""
        begun = time.monotonic()
        try:
            while self._more():
                assert time.monotonic() - begun < PATIENCE
        except ConnectionResetError:
            pass
        return self._rest

    def is_open(self):
        """Return whether the connection is open, with nothing to read."""
        self.socket.settimeout(0.01)
        try:
            return bool(self.socket.recv(1)) and False
        except TimeoutError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(PATIENCE)


def until(condition):
    """Wait until a condition is true."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < PATIENCE, "it did not come about"
        time.sleep(0.05)


def resident(pid):
    """Return a process's resident memory, in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
