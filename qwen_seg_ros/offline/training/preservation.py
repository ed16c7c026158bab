"""Does a model still answer plain questions? Its loss on held-out answers in words, before and after training."""

import numpy as np
import torch
from torch import nn

from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.data.samples import Sample
from qwen_seg_ros.offline.training.batch import Batcher

CHUNK = 4  # pictures at once


def plain_loss(
    objective: nn.Module, batcher: Batcher, pairs: list[tuple[np.ndarray, PlainQuestion]], device: torch.device
) -> float:
    """Mean nats a token over the chunks; NaN for no pairs. Call without gradients; leaves the training mode as it was."""
    training = objective.training
    objective.eval()
    values = []
    for start in range(0, len(pairs), CHUNK):
        batch = batcher([_sample(rgb, question) for rgb, question in pairs[start : start + CHUNK]]).to(device)
        values.append(float(objective(batch, with_masks=False)["text"]))
    objective.train(training)
    return float(np.mean(values)) if values else float("nan")


def _sample(rgb: np.ndarray, question: PlainQuestion) -> Sample:
    return Sample(rgb, np.zeros(rgb.shape[:2], np.uint8), (), (question,))
