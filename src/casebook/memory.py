"""Memory that Python has let go of, given back to the system."""

import ctypes
import gc
import sys

__all__ = ["release"]


def release() -> None:
    """Collects garbage, then asks the C library to return what is free to the operating system.

    A world that plays four weeks makes many small arrays and drops them. The allocator keeps their place for later,
    and on Linux a process goes on holding it. After this call it doesn't. Where the C library has no ``malloc_trim``
    (macOS, musl), only the garbage is collected.
    """
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
