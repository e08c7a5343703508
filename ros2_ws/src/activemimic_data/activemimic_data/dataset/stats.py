"""Statistics of columns and images, named as LeRobot names them."""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def column_stats(values: np.ndarray) -> dict[str, Any]:
    """min, max, mean, std, count and quantiles of `values` (N, D) or (N,), as lists of length D (count: 1)."""
    values = values.reshape(len(values), -1)
    wide = values.astype(np.float64)
    quantiles = np.quantile(wide, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": wide.mean(axis=0).tolist(),
        "std": wide.std(axis=0).tolist(),
        "count": [len(values)],
        **{name: quantiles[index].tolist() for index, name in enumerate(QUANTILES)},
    }


def image_histogram(image: np.ndarray) -> np.ndarray:
    """How often each value occurs in each channel of `image` (H, W, 3) uint8: (3, 256) int64."""
    return np.stack([np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(3)])


def image_stats(histogram: np.ndarray, frames: int) -> dict[str, Any]:
    """Statistics in [0, 1] of the images counted in `histogram` (3, 256), each as a (3, 1, 1) list (count: 1).

    Histograms of several episodes may be added before: the result is exact, unlike a mean of quantiles.
    """
    levels = np.arange(256) / 255.0
    total = histogram.sum(axis=1, keepdims=True)
    mean = (histogram * levels).sum(axis=1) / total[:, 0]
    variance = (histogram * (levels - mean[:, None]) ** 2).sum(axis=1) / total[:, 0]
    share = histogram.cumsum(axis=1) / total

    def column(values: np.ndarray) -> list[list[list[float]]]:
        return values.reshape(3, 1, 1).tolist()

    present = histogram > 0
    return {
        "min": column(levels[present.argmax(axis=1)]),
        "max": column(levels[255 - present[:, ::-1].argmax(axis=1)]),
        "mean": column(mean),
        "std": column(np.sqrt(variance)),
        "count": [frames],
        **{name: column(levels[(share >= share_of).argmax(axis=1)]) for name, share_of in QUANTILES.items()},
    }
