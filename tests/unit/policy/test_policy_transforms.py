"""The same steps take robot numbers to the network and back."""

import cv2
import numpy as np
import pytest
from activemimic_policy.normalization import Normalization, Statistics, fit_statistics
from activemimic_policy.transforms import (
    CompressActions,
    ExpandActions,
    RelativeActions,
    ResizeImages,
    Sample,
    ScaleImages,
    apply,
    fit_square,
    input_steps,
    output_steps,
    stack_cameras,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def test_output_steps_undo_input_steps_for_one_moment_and_for_a_batch(checkpoint):
    random = np.random.default_rng(1)
    there = input_steps(checkpoint.spec, checkpoint.normalization, 16, 6)
    back = output_steps(checkpoint.spec, checkpoint.normalization)
    for lead in ((), (3,), (2, 3)):
        state, actions = random.normal(size=(*lead, 4)), random.normal(size=(*lead, 5, 4))
        seen = apply(there, Sample({}, state, actions))
        assert seen.state.shape == (*lead, 6)
        assert seen.actions.shape == (*lead, 5, 6)
        restored = apply(back, Sample({}, state, seen.actions.astype(np.float64)))
        assert restored.actions == pytest.approx(actions, abs=1e-5)


def test_targets_are_relative_to_the_state_except_for_grippers(checkpoint):
    step = RelativeActions(checkpoint.spec.relative_slots)
    state = np.array([1.0, 2.0, 3.0, 1.0])
    actions = np.tile([1.5, 2.0, 2.0, 0.25], (5, 1))
    assert np.array_equal(step(Sample({}, state, actions)).actions[3], [0.5, 0.0, -1.0, 0.25])


def test_normalisation_applies_to_relative_targets():
    table = Normalization(
        slots=("a",), state=Statistics(mean=(5.0,), std=(2.0,)), action=Statistics(mean=(0.5,), std=(0.25,))
    )
    relative = RelativeActions((True,))(Sample({}, np.array([5.0]), np.array([[6.0]])))
    assert table.normalize_actions(relative.actions).item() == (6.0 - 5.0 - 0.5) / 0.25


def test_a_slot_that_never_moved_is_divided_by_the_floor():
    table = Normalization(
        slots=("a", "b"),
        state=Statistics(mean=(0.0, 0.0), std=(0.0, 1.0)),
        action=Statistics(mean=(0.0, 0.0), std=(0.0, 1.0)),
    )
    assert np.allclose(table.normalize_state(np.array([0.001, 0.001])), [0.05, 0.001])


def test_statistics_over_batches_equal_statistics_over_all():
    rows = np.random.default_rng(0).normal(3, 2, size=(1000, 3)).astype(np.float32)
    statistics = fit_statistics(np.array_split(rows, 7))
    assert statistics.mean == pytest.approx(rows.mean(0), rel=1e-5)
    assert statistics.std == pytest.approx(rows.std(0), rel=1e-5)
    with pytest.raises(ValueError, match="no rows"):
        fit_statistics([])


def test_images_shrink_by_area_and_keep_their_aspect_on_black():
    wide = np.random.default_rng(0).integers(1, 256, (48, 64, 3), dtype=np.uint8)
    square = fit_square(wide, 16)
    assert np.array_equal(square[2:14], cv2.resize(wide, (16, 12), interpolation=cv2.INTER_AREA))
    assert not square[:2].any()
    assert not square[14:].any()
    assert np.array_equal(fit_square(wide.transpose(1, 0, 2), 16), square.transpose(1, 0, 2))


def test_frames_resized_beforehand_pass_through_as_when_resized_on_the_way():
    """The trainer keeps frames at the network's size; serving resizes the camera's."""
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    resize = ResizeImages(16)
    once = resize(Sample({"head": frames}, np.zeros((2, 1))))
    assert once.images["head"].shape == (2, 16, 16, 3)
    assert np.array_equal(resize(once).images["head"], once.images["head"])


def test_pixels_become_minus_one_to_one_in_the_order_of_the_cameras():
    images = {"b": np.full((4, 4, 3), 255, np.uint8), "a": np.zeros((4, 4, 3), np.uint8)}
    stacked = stack_cameras(ScaleImages()(Sample(images, np.zeros(1))), ("a", "b"))
    assert stacked.dtype == np.float32
    assert stacked.shape == (2, 4, 4, 3)
    assert stacked[0] == pytest.approx(-1)
    assert stacked[1] == pytest.approx(1)


def test_compression_keeps_small_targets_and_squeezes_large_ones():
    small, large = 0.004, 1.0
    sample = Sample({}, np.zeros(3), np.array([[small, large, large]]))
    compressed = CompressActions((True, True, False), 0.02)(sample).actions
    assert compressed[0, 0] == pytest.approx(small, rel=0.01)
    assert 0.05 < compressed[0, 1] < 0.15
    assert compressed[0, 2] == large


@given(arrays(np.float64, (4, 3), elements=st.floats(-6.0, 6.0)), st.floats(0.005, 1.0))
def test_expansion_undoes_compression(actions, knee):
    relative = (True, False, True)
    there = CompressActions(relative, knee)(Sample({}, np.zeros(3), actions))
    assert ExpandActions(relative, knee)(there).actions == pytest.approx(actions, rel=1e-9, abs=1e-9)
