"""What is measured: the model's name and the splits, as one value that every output shows."""

from dataclasses import dataclass, field
from pathlib import Path

from qwen_seg_ros.offline.evaluation.questions import SplitViews, rendered_split
from qwen_seg_ros.offline.evaluation.replies import digest_of
from qwen_seg_ros.offline.evaluation.splits import Split, chosen


@dataclass(frozen=True)
class Plan:
    """model: name for people; digest: what answers are kept under, another one for every other model or setting; questions: a
    picture at most; size: width, height; data: a folder of views to use for every split instead of rendering; workers: processes
    that render; facts: shown
    with the figures."""

    model: str
    digest: str = ""
    splits: tuple[Split, ...] = field(default_factory=lambda: chosen(()))
    scenes: int = 200
    questions: int = 8
    size: tuple[int, int] = (640, 480)
    cache: Path = Path(".cache/tabletop_ors")
    data: Path | None = None
    workers: int = 1
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Folder of the model's replies."""
        return self.cache / "answers" / (self.digest or digest_of(self.model))

    def forget(self) -> None:
        """Remove the model's replies about these splits."""
        for split in self.splits:
            (self.store / f"{split.name}.jsonl").unlink(missing_ok=True)

    def views(self, split: Split) -> SplitViews:
        """Renders what is not there yet."""
        folder = self.data or rendered_split(split, self.cache / "views", self.scenes, self.size, self.workers)
        return SplitViews(folder, split, self.questions, self.scenes)
