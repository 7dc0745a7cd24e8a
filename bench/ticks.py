"""A timer finer than an event loop's, which counts in milliseconds: Linux's timerfd."""

import ctypes
import os

_CLOCK_MONOTONIC = 1


class _Setting(ctypes.Structure):
    """The C library's `struct itimerspec`."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("first_seconds", ctypes.c_long),
        ("first_nanoseconds", ctypes.c_long),
    )


def timer(interval: float) -> int:
    """Return a file descriptor that becomes readable every so many seconds; each read takes 8 bytes."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = int(library.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    seconds, nanoseconds = divmod(max(int(interval * 1e9), 1), 10**9)
    setting = _Setting(seconds, nanoseconds, seconds, nanoseconds)
    if descriptor < 0 or library.timerfd_settime(descriptor, 0, ctypes.byref(setting), None) < 0:
        raise OSError(ctypes.get_errno(), "no timer can be had")
    return descriptor
