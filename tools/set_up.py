#!/usr/bin/env python3
"""From a bare checkout to a runnable one: system libraries, `.venv` with everything from PyPI, the colcon overlay in `.ws`.

Only the standard library, any Python from 3.8 on. Every step is skipped when the files it depends on have not changed, so a
second call ends in about a second. Afterwards `source .ws/env.sh` gives a shell with ROS 2 and this package.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterable, List, Optional

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
WORKSPACE = ROOT / ".ws"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = [ROOT / "requirements" / f"{name}.txt" for name in ("core", "ros", "dev")]

LIBRARIES = {  # shared library -> Debian/Ubuntu package
    "libusb-1.0.so.0": "libusb-1.0-0",  # open3d
    "libGL.so.1": "libgl1",  # open3d, opencv
    "libX11.so.6": "libx11-6",  # open3d
    "libgomp.so.1": "libgomp1",  # open3d, torch
    "libEGL.so.1": "libegl1",  # rendering without a screen
}
COMPILERS = {"gcc": "gcc", "g++": "g++"}  # the message types are compiled
PYTHON_PACKAGES = ["python3.11", "python3.11-venv", "python3.11-dev"]
PACKAGE_FOLDERS = ("msg", "srv", "action", "scripts", "launch", "config", "rviz")
BUILDER_PATHS = {  # include folders of the machine that built the ROS wheels -> what they are here
    "/opt/python/cp311-cp311/include/python3.11": "import sysconfig; print(sysconfig.get_paths()['include'])",
    "/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include": "import numpy; print(numpy.get_include())",
}

ENVIRONMENT = """\
# Made by tools/set_up.py. Source it in bash: ROS 2 and this package, the Python files straight from the checkout.
export VIRTUAL_ENV="{venv}"
export PATH="{venv}/bin:$PATH"
export AMENT_PREFIX_PATH="{venv}" CMAKE_PREFIX_PATH="{venv}"
source "{install}/setup.bash"
export PYTHONPATH="{root}:$PYTHONPATH"
export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:{libraries}"
export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1  # the line above is what the ROS wheels would restart Python for
export ROS_AUTOMATIC_DISCOVERY_RANGE="${{ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}}"
"""


MISSING = """system packages are missing, install them with
  sudo apt-get install -y {packages}
A distribution without python3.11: install it with pyenv or uv, PATH must find it under this name."""


class SetupError(Exception):
    """What is missing and the command that gives it."""


def main() -> int:
    try:
        python = check_system()
        make_venv(python)
        install_requirements()
        build_overlay()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"set-up: '{' '.join(map(str, error.cmd))}' failed (exit code {error.returncode}), see above", file=sys.stderr)
        return 1
    return 0


# --- System ------------------------------------------------------------------------------------------------------------------


def check_system() -> Path:
    """Look for system libraries, compilers and CPython 3.11; as root install what is missing. Returns the interpreter."""
    missing = missing_packages()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing system packages: {' '.join(missing)}")
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], DEBIAN_FRONTEND="noninteractive")
        missing = missing_packages()
    if missing:
        raise SetupError(MISSING.format(packages=" ".join(missing)))
    return find_python() or PYTHON


def missing_packages() -> List[str]:
    packages = [package for library, package in LIBRARIES.items() if not loads(library)]
    packages += [package for program, package in COMPILERS.items() if not shutil.which(program)]
    return packages if PYTHON.exists() or find_python() else packages + PYTHON_PACKAGES


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def find_python() -> Optional[Path]:
    """A CPython 3.11 with venv, pip and C headers; the ROS 2 wheels exist for this version alone."""
    probe = "import sys, os, venv, ensurepip, sysconfig; assert sys.version_info[:2] == (3, 11)\n"
    probe += "assert os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h'))"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        python = Path(folder) / "python3.11"
        if os.access(python, os.X_OK) and subprocess.run([python, "-c", probe], capture_output=True).returncode == 0:
            return python
    return None


# --- Virtual environment -----------------------------------------------------------------------------------------------------


def make_venv(python: Path) -> None:
    if not PYTHON.exists():
        say(f"making .venv with {python}")
        run([python, "-m", "venv", VENV])
    version = output([PYTHON, "-c", "import sys; print(*sys.version_info[:2], sep='.')"])
    if version != "3.11":
        raise SetupError(f".venv holds Python {version}, the ROS 2 wheels need 3.11: remove the folder .venv and call again")


def install_requirements() -> None:
    stamp = Stamp(VENV / ".requirements", [*REQUIREMENTS, ROOT / "setup.py"])
    if stamp.fresh():
        return
    say("installing the requirements from PyPI (minutes the first time)")
    files = [argument for file in REQUIREMENTS for argument in ("-r", file)]
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, *files])
    package = ["--no-deps", "--no-build-isolation", "-e", ROOT]
    run([*pip, *package])  # for the qwen-seg command
    repair_include_paths()
    stamp.write()


def repair_include_paths() -> None:
    """The CMake export files of the ROS wheels name folders of the machine that built them."""
    here = {old: output([PYTHON, "-c", code]) for old, code in BUILDER_PATHS.items()}
    for file in (VENV / "share").rglob("*.cmake"):
        text = file.read_text()
        repaired = replaced(text, here)
        if repaired != text:
            file.write_text(repaired)


def replaced(text: str, words: Dict[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


# --- Overlay -----------------------------------------------------------------------------------------------------------------


def build_overlay() -> None:
    """Build the message types; the Python files are used from the checkout and need no rebuild."""
    sources = [ROOT / "package.xml", ROOT / "CMakeLists.txt", Path(__file__), VENV / ".requirements"]
    sources += [file for folder in PACKAGE_FOLDERS for file in (ROOT / folder).glob("*")]
    stamp = Stamp(WORKSPACE / ".built", sources)
    if stamp.fresh():
        return
    say("building the message types with colcon")
    prefix = {"AMENT_PREFIX_PATH": str(VENV), "CMAKE_PREFIX_PATH": str(VENV), "PATH": f"{VENV}/bin:{os.environ['PATH']}"}
    options = ["-G", "Ninja", f"-DPython3_EXECUTABLE={PYTHON}", "-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    folders = ["--paths", link_sources(), "--build-base", WORKSPACE / "build", "--install-base", WORKSPACE / "install"]
    colcon = [VENV / "bin" / "colcon", "--log-level", "error", "--log-base", WORKSPACE / "log", "build", *folders]
    run([*colcon, "--symlink-install", "--event-handlers", "console_cohesion-", "--cmake-args", *options], **prefix)
    write_environment()
    stamp.write()


def link_sources() -> Path:
    """A folder of links for CMake, which refuses to export include folders below the source folder: `.venv` is there."""
    source = WORKSPACE / "src" / "qwen_seg_ros"
    source.mkdir(parents=True, exist_ok=True)
    for name in ("package.xml", "CMakeLists.txt", "qwen_seg_ros", *PACKAGE_FOLDERS):
        link = source / name
        if (ROOT / name).exists() and not link.is_symlink():
            link.symlink_to(ROOT / name)
    return source


def write_environment() -> None:
    wheels = sorted((VENV / "lib" / "python3.11" / "site-packages").glob("ros_*.libs"))
    libraries = os.pathsep.join(map(str, [VENV / "lib", *wheels]))
    text = ENVIRONMENT.format(venv=VENV, install=WORKSPACE / "install", root=ROOT, libraries=libraries)
    (WORKSPACE / "env.sh").write_text(text)


# --- Tools -------------------------------------------------------------------------------------------------------------------


class Stamp:
    """Remembers in `file` the contents of `sources` that a step was done for."""

    def __init__(self, file: Path, sources: Iterable[Path]) -> None:
        self.file = file
        digest = hashlib.sha256(str(ROOT).encode())
        for source in sorted(s for s in sources if s.is_file()):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
        self.digest = digest.hexdigest()

    def fresh(self) -> bool:
        return self.file.exists() and self.file.read_text() == self.digest

    def write(self) -> None:
        self.file.write_text(self.digest)


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


def run(command: List, **environment: str) -> None:
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT, env={**os.environ, **environment})


def output(command: List) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
