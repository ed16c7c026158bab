"""Intervals for figures that are ratios of sums: whole pictures are drawn again, since their questions are not independent."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES, SEED = 1000, 20_000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Figure:
    """A measured value 0..1 and its 95 % interval; NaN where nothing was measured."""

    value: float
    low: float
    high: float


def figures(sums_PM2: NDArray[np.float64]) -> list[Figure]:
    """Numerators and denominators (P pictures, M metrics, 2), summed over the questions of a picture -> M figures.

    Percentile bootstrap over pictures with a fixed seed; draws in which a denominator is 0 are left out.
    """
    values = _ratios(sums_PM2.sum(axis=0))
    draws_RM = _ratios(np.tensordot(_draws(len(sums_PM2)), sums_PM2, axes=1))
    return [Figure(float(v), *_interval(draws_RM[:, m])) for m, v in enumerate(values)]


def _interval(draws_R: NDArray[np.float64]) -> tuple[float, float]:
    kept = draws_R[~np.isnan(draws_R)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.percentile(kept, PERCENTILES)
    return float(low), float(high)


def _ratios(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    numerators, denominators = sums[..., 0], sums[..., 1]
    return np.divide(numerators, denominators, out=np.full(numerators.shape, np.nan), where=denominators > 0)


@lru_cache(maxsize=16)
def _draws(pictures: int) -> NDArray[np.float64]:
    """How often each picture is in each resample, (R, P)."""
    if pictures == 0:
        return np.zeros((RESAMPLES, 0))
    rng = np.random.default_rng(SEED)
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), RESAMPLES).astype(np.float64)
