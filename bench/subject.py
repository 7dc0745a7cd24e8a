"""What is measured: a service that answers one customer's profile, whoever wrote it."""

from abc import ABC, abstractmethod
from pathlib import Path


class Subject(ABC):
    """One service. Filled once, then started and asked as often as wanted."""

    name: str
    """As tables and charts show it."""

    @abstractmethod
    def fill(self, directory: Path, customers: int) -> None:
        """Store the population's first customers, keeping any files in a directory of its own."""

    @abstractmethod
    def command(self, port: int) -> tuple[list[str], dict[str, str]]:
        """Return what starts the service on a port of 127.0.0.1, in one process, and its environment's additions."""

    @abstractmethod
    def request(self, index: int) -> bytes:
        """Return a whole HTTP/1.1 request (keep-alive, Host 127.0.0.1) for a customer's full profile."""

    @abstractmethod
    def check(self, index: int, body: bytes) -> None:
        """Make sure that an answer's body holds all six sections of that customer, with the newest 20 interactions.

        Raises:
            ValueError: it does not; the text says what is missing.
        """
