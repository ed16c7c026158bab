"""pip install of the ROS-free library and the `qwen-seg` command. In a ROS 2 workspace colcon uses CMakeLists.txt instead."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = ElementTree.parse(Path(__file__).with_name("package.xml")).getroot()
EXTRAS = {
    "sim": ["mujoco>=3.3", "pyarrow>=16"],
    "train": ["accelerate>=1.0", "peft>=0.15", "pyarrow>=16"],
    "eval": ["pyarrow>=16", "pycocotools>=2.0.8", "matplotlib>=3.8"],
    "scale": ["ray[data]>=2.40", "pyarrow>=16"],
    "bags": ["rosbags>=0.10"],
    "viz": ["rerun-sdk>=0.23", "rosbags>=0.10"],
    "dev": ["pytest>=8", "hypothesis>=6.100", "ruff>=0.9", "mypy>=1.14", "rosbags>=0.10", "pyarrow>=16"],
}

setup(
    name="qwen-seg-ros",
    version=PACKAGE.findtext("version"),
    description=PACKAGE.findtext("description"),
    license="Apache-2.0",
    python_requires=">=3.10",
    package_dir={"": "."},  # makes an editable install a plain path
    packages=find_packages(include=["qwen_seg_ros", "qwen_seg_ros.*"], exclude=["qwen_seg_ros.ros", "qwen_seg_ros.ros.*"]),
    data_files=[("share/qwen_seg_ros/msg", sorted(f"msg/{path.name}" for path in Path(__file__).with_name("msg").glob("*.msg")))],
    package_data={
        "qwen_seg_ros": [
            "checkpoints/*/*",
            "grasping/grippers/*.yaml",
            "offline/training/recipes/*.yaml",
            "offline/bags/replay/report/page.*s",
            "py.typed",
        ]
    },
    install_requires=[
        "numpy>=1.24",
        "scipy>=1.11",
        "opencv-python>=4.8,<5",
        "open3d>=0.18",
        "torch>=2.10",
        "transformers>=5.17",
        "tokenizers>=0.22",
        "safetensors>=0.5",
        "pillow>=10",
        "PyYAML>=6",
        "typer>=0.12",
        "rich>=13",
    ],
    extras_require={**EXTRAS, "all": sorted({requirement for extra in EXTRAS.values() for requirement in extra})},
    entry_points={"console_scripts": ["qwen-seg = qwen_seg_ros.cli.main:app"]},
)
