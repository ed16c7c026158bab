"""`qwen-seg play` in its own process."""

import subprocess
import sys
from pathlib import Path

from node_support.process import environment

ROOT = Path(__file__).resolve().parents[2]  # a robot's installation has no part that reads recordings


class Playing:
    """Ends with the `with` block; what it says stands in the file `log`."""

    def __init__(self, bag: Path, log: Path, *arguments: object, **streams: object) -> None:
        self._log = log
        with log.open("wb") as out:
            given = {"stdout": out, "stderr": subprocess.STDOUT, "env": environment(), "cwd": ROOT} | streams
            command = [sys.executable, "-m", "qwen_seg_ros.cli", "play", *map(str, (bag, *arguments))]
            self.process = subprocess.Popen(command, **given)

    def __enter__(self) -> "Playing":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def must_run(self) -> bool:
        assert self.process.poll() is None, self.said
        return True

    def ends_well(self) -> str:
        """What it said."""
        assert self.process.wait(30) == 0 and "Traceback" not in self.said, self.said
        return self.said
