"""Freed memory stays with the process: images of a camera cost no pages."""

import subprocess
import sys

import pytest

from qwen_seg_ros.ros.memory import keep_freed_memory

IMAGES = """
import resource, sys
from qwen_seg_ros.ros.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        images = [bytearray(921_600) for _ in range(5)]
        del images
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
print(pages())
"""


def pages_taken(how: str) -> int:
    """By fifty times five images of 640x480, where freed memory is kept ("keep") or not."""
    done = subprocess.run([sys.executable, "-c", IMAGES, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_images_take_no_new_pages_from_the_system() -> None:
    if not keep_freed_memory():
        pytest.skip("this C library has no mallopt")
    assert pages_taken("keep") < 100 < pages_taken("as it comes")
