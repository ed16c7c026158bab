"""Guessing ahead changes how many passes an answer takes, and nothing else."""

import pytest
import torch
from stock import qwen_tokenizer
from synthetic import synthetic_scene

from qwen_seg_ros.model import checkpoint, prompts
from qwen_seg_ros.model.drafts import MOST, Drafts
from qwen_seg_ros.model.engine import Engine

WORDS = ("the red box", "all cans", "the ball and the mug and the hammer", "every object", "the leftmost can", "dog")


@pytest.fixture(scope="module")
def engines():
    """With and without drafts, and how often each asked the network."""
    parts = checkpoint.load("tabletop")
    made = Engine(*parts), Engine(*parts, drafts=False)
    passes = [0, 0]
    for number, engine in enumerate(made):
        step = engine._step

        def counted(*args, number=number, step=step):
            passes[number] += 1
            return step(*args)

        engine._step = counted
    return made, passes


@pytest.mark.parametrize("most", [512, 7])
@pytest.mark.parametrize("bias", [0.0, 4.0, -4.0])
def test_answers_are_the_same_with_and_without(engines, bias, most):
    made, _ = engines
    for seed in (0, 1):
        rgb = synthetic_scene(seed, ["box", "can", "ball"])[0].rgb
        encoded = made[0].encode(rgb)
        for text in WORDS:
            quick, plain = (engine.answer(encoded, text, most, bias) for engine in made)
            assert (quick.text, quick.starts, quick.truncated) == (plain.text, plain.starts, plain.truncated)
            torch.testing.assert_close(quick.mask_states, plain.mask_states, atol=1e-3, rtol=1e-3)
            assert quick.present == pytest.approx(plain.present, abs=1e-3)
            assert quick.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-2)


def test_it_takes_fewer_passes(engines):
    made, passes = engines
    passes[:] = [0, 0]
    encoded = made[0].encode(synthetic_scene(2, ["box", "can", "ball"])[0].rgb)
    for text in WORDS:
        for engine in made:
            engine.answer(encoded, text)
    assert passes[0] < 0.75 * passes[1]


def test_after_a_box_come_mask_and_end_in_qwens_tokens():
    """What the format fixes is guessed whole, also where it takes many small tokens."""
    tokenizer = qwen_tokenizer()
    tokenizer.add_tokens(list(prompts.SEGMENTATION_TOKENS), special_tokens=True)
    drafts = Drafts(tokenizer, 1)
    whole = prompts.write_answer([prompts.Entry("mug", (12, 345, 678, 901))])
    before, after = whole.split(prompts.MASK_TOKEN)
    written = tokenizer(before).input_ids
    guess = drafts.after(written)
    assert (
        guess[: len(tokenizer(prompts.MASK_TOKEN + after).input_ids) - 1] == tokenizer(prompts.MASK_TOKEN + after).input_ids[:-1]
    )
    assert tokenizer.decode(drafts.after([])).startswith("[")
    assert all(len(drafts.after(written[:n])) <= MOST for n in range(len(written)))
