"""What a model said about the views of a split, kept on disk, so that an interrupted run goes on where it stopped.

    folder/<split>.jsonl   one line a view: {"view", "picture", "encode_s", "replies": [{"text", "outcome", "answer", "seconds",
                           "instances": [...], "bound": [...] or null}]}

A mask is {"at": [x, y], "size": [h, w], "runs": [...]}: its crop as COCO's uncompressed run lengths. A line counts only for the
same picture and the same questions.
"""

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qwen_seg_ros.geometry.mask import CroppedMask, decode_rle, encode_rle
from qwen_seg_ros.offline.evaluation.predictions import Prediction, of_instances, of_masks
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.segmentation.result import Instance, Outcome


@dataclass(frozen=True, eq=False)
class Reply:
    """To one question. bound: masks of the true boxes by the model's own decoder, None without one; seconds: of `segment`."""

    text: str
    outcome: Outcome
    answer: str
    seconds: float
    instances: tuple[Instance, ...]
    bound: Prediction | None

    @property
    def prediction(self) -> Prediction:
        return of_instances(self.instances, self.outcome is Outcome.NOT_FOUND)


@dataclass(frozen=True, eq=False)
class ViewReplies:
    """To all questions about one view; encode_s: seconds of `encode`."""

    encode_s: float
    replies: tuple[Reply, ...]


class ReplyStore:
    """One file of replies; knows where each line begins and keeps none in memory."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._places = _places(file) if file.exists() else {}

    def get(self, view: View) -> ViewReplies | None:
        """None for a view that was not asked about yet, or has other pixels or questions now."""
        if view.key not in self._places:
            return None
        with self.file.open("rb") as stream:
            stream.seek(self._places[view.key])
            line = json.loads(stream.readline())
        same = line["picture"] == _checksum(view) and [r["text"] for r in line["replies"]] == [q.text for q in view.questions]
        return ViewReplies(line["encode_s"], tuple(_reply(r, view) for r in line["replies"])) if same else None

    def put(self, view: View, said: ViewReplies) -> None:
        """Written at once: what is interrupted later loses nothing."""
        values = {"view": view.key, "picture": _checksum(view), "encode_s": said.encode_s}
        line = json.dumps({**values, "replies": [_reply_values(r) for r in said.replies]})
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as stream:
            self._places[view.key] = stream.tell()
            stream.write(line.encode() + b"\n")


def _places(file: Path) -> dict[str, int]:
    """Offset of each view's last whole line; a line that was cut off by an interruption is removed from the file."""
    places, offset = {}, 0
    with file.open("r+b") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            places[json.loads(line)["view"]] = offset
            offset += len(line)
        stream.truncate(offset)
    return places


def _checksum(view: View) -> int:
    depth = b"" if view.depth_m is None else np.ascontiguousarray(view.depth_m).tobytes()
    return zlib.crc32(depth, zlib.crc32(np.ascontiguousarray(view.rgb).tobytes()))


def digest_of(*parts: str, folder: Path | None = None) -> str:
    """Short name of a model: of `parts` and, with `folder`, of every file in it but its pages (*.md), which change no answer."""
    digest = hashlib.sha256("\0".join(parts).encode())
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md") if folder else ():
        digest.update(f"\0{file.relative_to(folder or file).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(2**24):
                digest.update(block)
    return digest.hexdigest()[:16]


def _reply_values(reply: Reply) -> dict[str, Any]:
    bound = None if reply.bound is None else list(zip(reply.bound.boxes, reply.bound.masks, strict=True))
    return {
        "text": reply.text,
        "outcome": reply.outcome.value,
        "answer": reply.answer,
        "seconds": reply.seconds,
        "instances": [
            {"phrase": i.phrase, "score": i.score, "mask_score": i.mask_score, **_place(i.box_px, i.mask)}
            for i in reply.instances
        ],
        "bound": None if bound is None else [_place(box, mask) for box, mask in bound],
    }


def _instance_values(item: Instance) -> dict[str, Any]:
    scores = {"score": float(item.score), "mask_score": float(item.mask_score)}
    return {"phrase": item.phrase, **scores, **_place(item.box_px, item.mask)}


def _reply(values: dict[str, Any], view: View) -> Reply:
    instances = tuple(
        Instance(i["phrase"], np.array(i["box"], np.float32), _mask(i["mask"], view), i["score"], i["mask_score"])
        for i in values["instances"]
    )
    bound = values["bound"]
    kept = None if bound is None else of_masks(np.array([b["box"] for b in bound]), [_mask(b["mask"], view) for b in bound])
    return Reply(values["text"], Outcome(values["outcome"]), values["answer"], values["seconds"], instances, kept)


def _place(box: Any, mask: CroppedMask) -> dict[str, Any]:
    runs = [int(n) for n in encode_rle(mask.crop)]
    return {
        "box": [float(v) for v in box],
        "mask": {"at": [mask.x_px, mask.y_px], "size": list(mask.crop.shape), "runs": runs},
    }


def _mask(values: dict[str, Any], view: View) -> CroppedMask:
    crop = decode_rle(values["runs"], *values["size"])
    return CroppedMask(crop, *values["at"], *view.ids.shape)
