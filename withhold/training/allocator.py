"""How the C library's allocator treats the large tensors of a training step."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MIB = 2**20


def keep_memory() -> bool:
    """Let glibc keep what a step frees, for the next one; gives whether it does. Elsewhere nothing changes.

    By itself it asks the system for every large tensor and gives it back, and the system fills each new page with
    zeros. Now tensors below 64 MiB come from the heap, of which up to 512 MiB stay when they are free. SimCLR on
    photographs of 96 pixels, 128 a batch on one core, sees 112 a second in place of 72, in 1.5 in place of 1.3 GB. If
    all tensors came from the heap, it would be 111, in 2.1 GB.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_THRESHOLD, 64 * MIB) and libc.mallopt(M_TRIM_THRESHOLD, 512 * MIB))
