"""Knobs of the 2-D stage."""

from dataclasses import dataclass

from qwen_seg_ros.setting import check, setting


@dataclass(frozen=True)
class SegmentationSettings:
    """Which segmenter answers, and how."""

    segmenter: str = setting(
        "qwen", "who answers: qwen = the network, replay = stored answers", choices=("qwen", "replay"), read_only=True
    )
    checkpoint: str = setting(
        "tabletop",
        "an embedded model's name, a folder, or owner/name on the model hub; for replay a folder of answers",
        read_only=True,
    )
    device: str = setting(
        "auto", "where the network runs; auto takes the GPU if there is one", choices=("auto", "cpu", "cuda"), read_only=True
    )
    dtype: str = setting(
        "auto",
        "number format of the network; auto takes what the device does fast",
        choices=("auto", "float32", "bfloat16", "float16"),
        read_only=True,
    )
    num_threads: int = setting(0, "CPU threads of the network, 0 = the library's choice", 0, 256, read_only=True)
    max_instances: int = setting(20, "objects per instruction at most", 1, 100)
    max_new_tokens: int = setting(1024, "length of an answer at most, in tokens", 16, 8192)
    look_closer: bool = setting(
        True, "show the network only the part of the picture in which depth shows things standing on the table"
    )
    rejection_threshold: float = setting(0.3, "probability of 'not in the image' above which a phrase counts as absent", 0.0, 1.0)

    def __post_init__(self) -> None:
        check(self)
