"""Clients in processes of their own. Each takes a list of calls, makes them, and says which events it has sent.

A call is an object: `kind`, `user`, `anonymous`, `name`, `group`, `previous` as its kind needs them, `data` for what
is sent along, `odd` to send values besides that not every JSON holds, `wait` for seconds until the next call. Its
number `n` in `data` tells it from all others. A page takes the kind `reload` besides: it is loaded anew, and answers
together with the next list.
"""

import json
import os
import subprocess
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue

SECONDS = 240
"""How long a client may take over a list of calls, in seconds."""


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PORTRAIT_"))}


class Program:
    """A client in a program, which reads calls from its stdin and answers on its stdout."""

    def __init__(self, words, directory):
        self._log = (directory / "client.log").open("w+")
        self._process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment(),
        )  # fmt: skip
        self._answers = Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self):
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def begin(self, calls):
        """Have calls made."""
        self._process.stdin.write(json.dumps(calls) + "\n")
        self._process.stdin.flush()

    def answer(self):
        """Return the numbers of the events that were sent, once the client has done what it can, and its errors."""
        line = self._answers.get(timeout=SECONDS)
        if line is None:
            self._log.seek(0)
            raise AssertionError(f"the client ended: {self._log.read()}")
        answer = json.loads(line)
        return answer["sent"], answer["failed"]

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.join()
        self._process.stdout.close()
        self._log.close()


class Handler(BaseHTTPRequestHandler):
    """Answers a page: with its documents, with calls to make as soon as there are some, and takes what it says."""

    def do_GET(self):
        kind, body = self.server.documents.get(self.path, (None, None))
        if self.path == "/calls":
            kind, body = "application/json", json.dumps(self._next()).encode()
        if kind is None:
            self.send_error(404)
        else:
            self._answer(kind, body)

    def _next(self):
        while not self.server.closing.is_set():
            with suppress(Empty):
                return self.server.calls.get(timeout=0.1)
        return None

    def do_POST(self):
        self.server.answers.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self._answer("application/json", b"{}")

    def _answer(self, kind, body):
        self.send_response(200)
        self.send_header("content-type", f"{kind}; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the page has ended
            self.wfile.write(body)

    def log_message(self, *words):
        pass


class Page:
    """A client in a page, which fetches calls from the server of its page and posts its answers there."""

    def __init__(self, browser, script, settings, directory):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.documents = {
            "/": ("text/html", b'<!doctype html><script type="module" src="/script.js"></script>'),
            "/script.js": ("text/javascript", script),
            "/settings": ("application/json", json.dumps(settings).encode()),
        }
        self._server.calls, self._server.answers, self._server.closing = Queue(), Queue(), threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
        self._log = (directory / "browser.log").open("w+")
        self._process = subprocess.Popen(
            [
                browser, *options, "--enable-logging=stderr", f"--user-data-dir={directory / 'browser'}",
                f"http://127.0.0.1:{self._server.server_port}/",
            ],
            stdout=self._log, stderr=self._log, env={**environment(), "HOME": str(directory)},
        )  # fmt: skip

    def begin(self, calls):
        """Have calls made."""
        self._server.calls.put(calls)

    def answer(self):
        """Return the numbers of the events that were answered with 200, once nothing more is sent, and no errors."""
        try:
            answer = self._server.answers.get(timeout=SECONDS)
        except Empty:
            self._log.seek(0)
            console = "".join(line for line in self._log if ":CONSOLE" in line)
            raise AssertionError(f"the page does not answer: {console}") from None
        return answer["sent"], answer["failed"]

    def close(self):
        self._server.closing.set()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._log.close()
