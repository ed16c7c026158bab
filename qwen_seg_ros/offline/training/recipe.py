"""A training run as data: what to start from, what to train, on what mixture, how fast. One short YAML file each.

recipes/stage1.yaml and recipes/stage2.yaml follow arXiv 2605.07141; recipes/embedded.yaml makes the model that is shipped.
"""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.model.configuration import MaskDecoderConfig
from qwen_seg_ros.setting import check, setting
from qwen_seg_ros.settings import merged

RECIPES = Path(__file__).parent / "recipes"
NEW = "new"


@dataclass(frozen=True)
class Mix:
    """Share of the pictures, by what is asked about them; 0 = none."""

    segmentation: int = setting(1, "rendered pictures, referring expressions", 0, 1000)
    general: int = setting(0, "rendered pictures, plain questions answered in words", 0, 1000)
    reasoning: int = setting(0, "rendered pictures, instructions that name a use and not a thing", 0, 1000)
    user: int = setting(0, "your own pictures (--user-data)", 0, 1000)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class LossWeights:
    """words, corners and pointing are helpers without which a small new model does not learn to ground; 0 = not used."""

    text: float = setting(1.0, "cross entropy of the answer, mask tokens included", 0, 100)
    bce: float = setting(2.0, "binary cross entropy of the masks", 0, 100)
    dice: float = setting(1.0, "dice loss of the masks", 0, 100)
    iou: float = setting(0.2, "squared error of the predicted mask quality", 0, 100)
    words: float = setting(0.0, "image tokens name the object that covers them", 0, 100)
    corners: float = setting(0.0, "image tokens know the box of their object", 0, 100)
    pointing: float = setting(0.0, "attention looks at the object while its box is written", 0, 100)

    def __post_init__(self) -> None:
        check(self)

    @property
    def helpers(self) -> bool:
        return max(self.words, self.corners, self.pointing) > 0


@dataclass(frozen=True)
class Recipe:
    """Rates are those after the warm-up; a part that is not trained stays exactly as it is in the base."""

    base: str = setting(NEW, f"model to start from: hub id, folder or embedded name; {NEW} = the embedded size with new weights")
    tokenizer: str = setting(
        "base", "corpus = one made of today's words, whose rows start from the base's", choices=("base", "corpus")
    )
    image_pixels: int = setting(0, "pixels of a picture that the model sees at most, 0 = as the base", 0, 16_777_216)
    one_size: bool = setting(
        False, "every picture is brought to the size that a 640x480 one is seen in, wider and higher ones with a plain border"
    )
    answers: str = setting("mask_token", "how masks are written", choices=("mask_token", "text4seg", "text4seg++", "boxes"))
    store: str = setting(
        "whole", "what a checkpoint holds: all weights or what differs from the base", choices=("whole", "difference")
    )
    steps: int = setting(10_000, "updates in all", 1, 10_000_000)
    batch: int = setting(8, "pictures a step and device", 1, 1024)
    questions: int = setting(6, "questions a picture at most", 1, 64)
    picture_height: int = setting(0, "pictures are padded to this size, 0 = taken as they are", 0, 4096)
    picture_width: int = setting(0, "see picture_height", 0, 4096)
    optimiser: str = setting("adamw", "muon = Muon for matrices, AdamW for the rest", choices=("adamw", "muon"))
    rate: float = setting(1e-4, "learning rate", 0, 1)
    schedule: str = setting("cosine", "rate after the warm-up; constant can end in a cool-down", choices=("cosine", "constant"))
    warmup: int = setting(100, "steps until the full rate", 0, 1_000_000)
    cooldown: int = setting(0, "last steps over which a constant rate falls to zero", 0, 10_000_000)
    weight_decay: float = setting(0.01, "decoupled weight decay", 0, 1)
    lora_rank: int = setting(0, "rank of LoRA on the language model, 0 = no LoRA", 0, 1024)
    lora_alpha: float = setting(64.0, "LoRA's change is scaled by lora_alpha / lora_rank", 0, 10_000)
    language_rate: float = setting(0.0, "of the language model's own weights, times rate; 0 = frozen", 0, 100)
    vision_rate: float = setting(0.0, "of the vision tower, times rate; 0 = frozen", 0, 100)
    vision_steps: int = setting(0, "first steps that train the vision tower alone, on words and corners", 0, 10_000_000)
    vision_batch: int = setting(24, "pictures a step and device meanwhile", 1, 1024)
    masks_from: int = setting(0, "step at which the mask decoder joins in", 0, 10_000_000)
    box_step: int = setting(1, "boxes are written in these steps of the 0..1000 grid", 1, 100)
    box_jitter: float = setting(0.06, "noise on the boxes given to the mask decoder, share of their size", 0, 1)
    checkpointing: bool = setting(False, "compute activations twice to save memory")
    precision: str = setting("auto", "auto = bf16 where the device is fast at it", choices=("auto", "fp32", "bf16"))
    save_every: int = setting(250, "steps between snapshots", 1, 10_000_000)
    workers: int = setting(1, "processes that prepare pictures, 0 = none beside the training", 0, 256)
    seed: int = setting(0, "of new weights, pictures and noise", 0, 2**31)
    decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)  # put on a base that has none
    mix: Mix = field(default_factory=Mix)
    losses: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        check(self)
        if self.lora_rank and (self.language_rate or self.losses.helpers or self.store == "whole"):
            raise SettingsError("LoRA (lora_rank > 0) needs language_rate 0, no helper losses and store: difference")
        if bool(self.picture_height) != bool(self.picture_width):
            raise SettingsError("picture_height and picture_width go together; 0 for both takes pictures as they are")
        if self.base == NEW and self.store != "whole":
            raise SettingsError(f"base: {NEW} has nothing to differ from; set store: whole")
        if self.vision_steps and not self.losses.helpers:
            raise SettingsError("vision_steps trains on words and corners; give these losses a weight")


def load_recipe(name: str) -> Recipe:
    """A recipe of the package by name ("stage1") or a YAML file; what it leaves out keeps its default.

    Raises:
        SettingsError: the file cannot be read, a name is unknown or a value is not allowed.
    """
    path = RECIPES / f"{name}.yaml" if (RECIPES / f"{name}.yaml").is_file() else Path(name)
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise SettingsError(f"recipe {name!r} is neither one of {known} nor a YAML file that can be read: {error}") from error
    return merged(Recipe(), {} if values is None else values)
