"""Circuit breakers: what failed several times in a row is left alone for a while, and then asked once."""

from dataclasses import dataclass

MAX_TENANTS = 10_000
"""The most tenants of one section whose failures are counted."""


@dataclass
class Circuit:
    """What is known of one tenant's calls: only where the last of them failed."""

    failures: int = 0
    """How many calls in a row failed."""
    until: float = 0.0
    """No call is made before this moment, once failures are too many."""
    trying: bool = False
    """Whether a call is under way that finds out whether the source works again."""


class Circuits:
    """The circuits of one section, one a tenant: what one tenant's customers make fail stays open to the others.

    Args:
        breaker: after how many failures in a row no call is made, and for how many seconds; None: calls are made
            whatever failed.
    """

    def __init__(self, breaker: tuple[int, float] | None) -> None:
        self._breaker = breaker
        self._circuits: dict[str, Circuit] = {}

    def begin(self, tenant: str, now: float) -> bool | None:
        """Tell whether a call may be made; None: it may not, True: it may, as the only one.

        Each call that may be made must be followed by `end`.
        """
        circuit = self._circuits.get(tenant)
        if self._breaker is None or circuit is None or circuit.failures < self._breaker[0]:
            return False
        if circuit.trying or now < circuit.until:
            return None
        circuit.trying = True
        return True

    def end(self, tenant: str, now: float, *, alone: bool, failed: bool | None) -> bool:
        """Note how a call ended; tell whether no call is made from now on.

        Args:
            tenant: whose call it was.
            now: by the same clock as in `begin`.
            alone: what `begin` returned.
            failed: whether it failed; None: that is not known, since its caller has left or it was not made.
        """
        if self._breaker is None:
            return False
        if failed is False:
            self._circuits.pop(tenant, None)
            return False
        circuit = self._circuits.get(tenant)
        if circuit is None:
            if failed is None:
                return False
            while len(self._circuits) >= MAX_TENANTS:
                del self._circuits[next(iter(self._circuits))]
            circuit = self._circuits[tenant] = Circuit()
        if alone:
            circuit.trying = False
        if failed is None:
            return False
        most, seconds = self._breaker
        circuit.failures += 1
        opened = alone or circuit.failures == most  # calls that began before change nothing
        if opened:
            circuit.failures = max(circuit.failures, most)
            circuit.until = now + seconds
        return opened
