"""What an answer's format leaves little choice about, guessed ahead: several tokens are checked in one pass.

A draft is only a guess. The engine compares it with what the model would have written and keeps what agrees, so the answer is the
same with and without drafts (speculative decoding with a grammar for a draft model).
"""

import random
from collections import Counter, defaultdict

from transformers import PreTrainedTokenizerBase

from qwen_seg_ros.geometry.box import GRID
from qwen_seg_ros.model import prompts

CONTEXT = 4  # tokens looked back at
MOST = 8  # tokens of a draft
EXAMPLES, SEEN = 600, 4  # example answers; a context counts when it was seen so often
LIKELY, WORTH = 0.6, 0.4  # share of a continuation among all of its context, and of a whole draft
START = -1  # stands before the first token
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Drafts:
    """Continuations that were the usual ones in example answers of this tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, box_step: int) -> None:
        rng = random.Random(0)
        following: dict[tuple[int, ...], Counter] = defaultdict(Counter)
        for _ in range(EXAMPLES):
            tokens = [START, *tokenizer(_example(rng, box_step), add_special_tokens=False).input_ids]
            for end in range(1, len(tokens)):
                for length in range(1, min(CONTEXT, end) + 1):
                    following[tuple(tokens[end - length : end])][tokens[end]] += 1
        usual = {context: (*n.most_common(1)[0], n.total()) for context, n in following.items()}
        self.next = {c: (token, count / seen) for c, (token, count, seen) in usual.items() if seen >= SEEN}

    def after(self, written: list[int]) -> list[int]:
        """At most MOST tokens that should come next; often none."""
        draft: list[int] = []
        sure = 1.0
        while len(draft) < MOST:
            token, share = self._usual([START, *written[-CONTEXT:], *draft][-CONTEXT:])
            sure *= share
            if share < LIKELY or sure < WORTH:
                break
            draft.append(token)
        return draft

    def _usual(self, context: list[int]) -> tuple[int, float]:
        """What usually follows, and how usually; the longest context that is known decides."""
        known = (self.next.get(tuple(context[start:])) for start in range(len(context)))
        return next((found for found in known if found is not None), (0, 0.0))


def _example(rng: random.Random, box_step: int) -> str:
    return prompts.write_answer([_entry(rng, box_step) for _ in range(rng.randint(1, 3))])


def _entry(rng: random.Random, box_step: int) -> prompts.Entry:
    label = " ".join("".join(rng.choices(LETTERS, k=rng.randint(2, 9))) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.3:
        return prompts.Entry(label, None)
    x0, x1, y0, y1 = (box_step * rng.randint(0, GRID // box_step) for _ in range(4))
    return prompts.Entry(label, (x0, y0, x1, y1))
