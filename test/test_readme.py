"""The README's tree is the tree on disk, and what it names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
MADE = {"out", "build", "dist", "install", "log", "__pycache__"}  # by commands, not part of the repository
PRINTED = (".", "qwen_seg_ros", "qwen_seg_ros/offline")  # folders whose content the tree shows


def printed_tree() -> dict[str, str]:
    """Path -> its line's words."""
    block = README.split("## The tree", 1)[1].split("```")[1]
    entries, parents = {}, [""]
    for line in block.strip("\n").splitlines():
        found = re.fullmatch(r"( *)(\S+)\s+(\S.*)", line)
        assert found, f"not a line of the tree: {line!r}"
        depth, name = len(found[1]) // 2, found[2]
        parents[depth + 1 :] = [f"{parents[depth]}{name}"]
        entries[parents[depth] + name] = found[3]
    return entries


def on_disk(folder: str) -> set[str]:
    names = set()
    for path in (ROOT / folder).iterdir():
        hidden = path.name.startswith((".", "_")) or path.name in MADE or path.name.endswith(".egg-info")
        if hidden or (folder == "." and path.is_file()):
            continue
        relative = path.relative_to(ROOT).as_posix()
        if path.is_dir() and any(f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts):
            names.add(relative + "/")
        elif path.suffix == ".py":
            names.add(relative)
    return names


@pytest.mark.parametrize("folder", PRINTED)
def test_the_printed_tree_is_the_one_on_disk(folder: str) -> None:
    prefix = "" if folder == "." else folder + "/"
    printed = {p for p in printed_tree() if p.startswith(prefix) and p != prefix and "/" not in p[len(prefix) :].rstrip("/")}
    assert printed == on_disk(folder)


def test_make_commands_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"^make ([a-z]+)", README, re.M)) <= set(targets)


def test_files_and_pictures_named_exist() -> None:
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / name).exists(), name


def test_interfaces_named_exist() -> None:
    own = re.findall(r"\| (SegmentArray|SceneObjectArray|GraspTargetArray|Segment|FindGraspTargets) \|", README)
    there = {path.stem for kind in ("msg", "srv", "action") for path in (ROOT / kind).iterdir()}
    assert len(own) == 5 and set(own) <= there
