"""The real node in its own process."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from tempfile import gettempdir
from typing import Any, TextIO

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "segmentation_node"
FIRST_DOMAIN, DOMAINS = 41, 60  # DDS domains 0..101 are safe


def own_domain() -> tuple[int, TextIO]:
    """One that no other run on this machine has: it is taken as long as the file that comes with it is open."""
    for number in range(DOMAINS):
        domain = FIRST_DOMAIN + (os.getpid() + number) % DOMAINS
        taken = (Path(gettempdir()) / f"qwen_seg_ros_domain_{domain}.lock").open("w")
        with suppress(OSError):
            flock(taken, LOCK_EX | LOCK_NB)
            return domain, taken
        taken.close()
    raise RuntimeError(f"all of the DDS domains {FIRST_DOMAIN} to {FIRST_DOMAIN + DOMAINS - 1} are taken by other test runs")


DOMAIN, _taken = own_domain()


def environment() -> dict[str, str]:
    """For processes of a test: on this machine only, on one core."""
    own = {"ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "OMP_NUM_THREADS": "1"}
    return os.environ | own


class NodeProcess:
    """`parameters`, `remaps` (topics) as on the command line; `log_file` keeps everything the node says."""

    def __init__(self, name: str, log_file: Path, parameters: dict[str, Any], remaps: dict[str, str] | None = None) -> None:
        arguments = ["--ros-args", "-r", f"__node:={name}"]
        for key, value in parameters.items():
            arguments += ["-p", f"{key}:={str(value).lower() if isinstance(value, bool) else value}"]
        for key, topic in (remaps or {}).items():
            arguments += ["-r", f"{key}:={topic}"]
        command = [sys.executable, str(SCRIPT), *arguments]
        self.name, self._log = name, log_file
        with log_file.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment())

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, words: str, timeout_s: float = 60) -> None:
        """Until the log holds `words`."""
        ends = time.monotonic() + timeout_s
        while words not in self.log:
            assert self.alive() and time.monotonic() < ends, f"{words!r} not in the log of {self.name}:\n{self.log}"
            time.sleep(0.05)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        self._process.terminate()

    def exit_code(self, timeout_s: float = 30) -> int:
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """For the end of a test: no process stays behind."""
        if self.alive():
            self.interrupt()
            try:
                self.exit_code(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
