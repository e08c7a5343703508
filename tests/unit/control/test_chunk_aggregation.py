"""What remains of earlier chunks."""

from __future__ import annotations

import numpy as np
import pytest
from activemimic_control.chunk_aggregation import (
    CHUNK_AGGREGATIONS,
    TemporalEnsemble,
    ensemble_weights,
    make_chunk_aggregation,
)
from activemimic_control.player import ChunkPlayer
from activemimic_description.chunk import Chunk

MS = 1_000_000
STEP = 100 * MS


def chunk(value: float, stamp_steps: float = 0, points: int = 4) -> Chunk:
    return Chunk(round(stamp_steps * STEP), STEP, np.full((points, 1), float(value)))


def test_the_newest_chunk_replaces_the_others() -> None:
    aggregation = make_chunk_aggregation("replace")
    aggregation.add(chunk(1))
    assert aggregation.add(chunk(5, 1)).positions[:, 0].tolist() == [5, 5, 5, 5]


def test_acts_weights_are_those_of_the_paper() -> None:
    """w_i = exp(-m·i) / sum, w_0 the oldest, over the chunks that reach the step."""
    m, values = 0.3, [1.0, 10.0, 100.0]
    aggregation = TemporalEnsemble(m)
    for k, value in enumerate(values):
        joined = aggregation.add(chunk(value, k))
    # The third chunk's points are due at steps 3 to 6; the first chunk ends at 4, the second at 5.
    w = np.exp(-m * np.arange(3))
    three = (w * values).sum() / w.sum()
    two = (w[:2] * values[1:]).sum() / w[:2].sum()
    assert joined.positions[:, 0] == pytest.approx([three, three, two, 100.0])
    assert (joined.stamp_ns, joined.step_ns) == (2 * STEP, STEP)


def test_smoothing_gives_each_older_chunk_four_fifths_of_the_weight_of_the_next() -> None:
    aggregation = make_chunk_aggregation("temporal_smoothing")
    for k, value in enumerate((1.0, 10.0, 100.0)):
        joined = aggregation.add(chunk(value, k))
    assert joined.positions[0, 0] == pytest.approx((100 + 0.8 * 10 + 0.64 * 1) / (1 + 0.8 + 0.64))
    assert joined.positions[2, 0] == pytest.approx((100 + 0.8 * 10) / 1.8)


def test_weights_add_up_to_one_wherever_a_chunk_reaches() -> None:
    covers = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], dtype=bool)
    weights = ensemble_weights(covers, 0.01)
    assert weights.sum(axis=0) == pytest.approx([1, 1, 1, 0])
    assert not weights[~covers].any()


def test_chunks_of_other_instants_are_read_between_their_points() -> None:
    aggregation = TemporalEnsemble(0.0)
    aggregation.add(Chunk(0, STEP, np.array([[0.0], [1.0], [2.0], [3.0]])))
    joined = aggregation.add(chunk(0, 0.5, points=3))  # due at 1.5, 2.5 and 3.5 steps
    assert joined.positions[:, 0] == pytest.approx([0.25, 0.75, 1.25])


def test_an_ensemble_forgets_with_the_player() -> None:
    player = ChunkPlayer(("a",), aggregation=TemporalEnsemble())
    player.accept(chunk(1))
    player.reset([0.0])
    player.accept(chunk(5, 1))
    assert player.chunk is not None
    assert player.chunk.positions[:, 0].tolist() == [5, 5, 5, 5]


def test_a_latched_gripper_hears_the_newest_chunk_and_no_mean() -> None:
    player = ChunkPlayer(("a", "gripper"), ("gripper",), aggregation=TemporalEnsemble())
    player.accept(Chunk(0, STEP, np.zeros((8, 2))))
    player.accept(Chunk(STEP, STEP, np.ones((8, 2))))
    assert player.chunk is not None
    assert player.chunk.positions[0].tolist() == [pytest.approx(0.5, abs=0.01), 1.0]


def test_every_name_makes_one_and_another_is_refused() -> None:
    for name in CHUNK_AGGREGATIONS:
        assert make_chunk_aggregation(name).add(chunk(1)).positions[0, 0] == 1
    with pytest.raises(ValueError, match="expected one of replace, temporal_ensemble, temporal_smoothing"):
        make_chunk_aggregation("mean")
