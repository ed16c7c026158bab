"""The real node in its own process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "segmentation_node"
DOMAIN = 41 + os.getpid() % 60  # DDS domains 0..101 are safe; two test runs on one machine rarely meet


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
