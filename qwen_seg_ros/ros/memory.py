"""Freed memory stays with the process, for the next image.

glibc gives back to the system what a freed image leaves at the end of the heap, and takes larger blocks from the system one by
one. With a camera at 30 Hz this costs more than all of the node's own work while it idles: every page of every image is asked
for, cleared and handed back again.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
KEPT_BYTES = 64 << 20  # free memory at the end of a heap that is not given back
FROM_HEAP_BYTES = 32 << 20  # blocks below this come from the heap: the most that glibc allows


def keep_freed_memory() -> bool:
    """For the whole process; False where the C library has no such settings, which then works as before."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, FROM_HEAP_BYTES))
