"""What an inference costs at least, and what is measured of one."""

import pytest
from activemimic_policy.benchmark.measure import Subject, infer_uncached, measure
from activemimic_policy.benchmark.roofline import DeviceLimits, inference_work
from activemimic_policy.checkpoint import save_checkpoint
from activemimic_policy.model.model_config import PALIGEMMA_VOCABULARY, preset

H200 = DeviceLimits(flops_per_s=790e12, bytes_per_s=4.3e12)


@pytest.mark.parametrize(
    ("name", "step_gflop", "step_mb", "whole_ms"), [("activemimic", 68, 1219, 7.6), ("pi0", 39, 645, 6.3)]
)
def test_the_papers_sizes_cost_what_was_computed_for_them_by_hand(name, step_gflop, step_mb, whole_ms):
    config = preset(name, cameras=3, vocab_size=PALIGEMMA_VOCABULARY, state_dim=20, action_dim=20)
    work = inference_work(config, "bf16")
    assert work["vision"].flops == pytest.approx(657e9, rel=0.01)
    assert work["prefix"].flops == pytest.approx(3149e9, rel=0.01)
    assert work["step"].flops == pytest.approx(step_gflop * 1e9, rel=0.02)
    assert work["step"].bytes == pytest.approx(step_mb * 1e6, rel=0.01)
    bound_s = H200.seconds(work["vision"]) + H200.seconds(work["prefix"]) + 10 * H200.seconds(work["step"])
    assert bound_s * 1e3 == pytest.approx(whole_ms, rel=0.02)


def test_four_times_the_bytes_a_number_takes_is_what_float32_reads():
    config = preset("tiny", cameras=1, vocab_size=9, state_dim=4, action_dim=4)
    wide, narrow, mixed = (inference_work(config, precision) for precision in ("fp32", "bf16", "int8"))
    for part in wide:
        assert wide[part].bytes == 2 * narrow[part].bytes
        assert wide[part].flops == narrow[part].flops
    assert wide["prefix"].bytes == 4 * mixed["prefix"].bytes
    assert wide["step"].bytes == mixed["step"].bytes  # the steps are not quantised


def test_without_a_cache_the_prefix_is_encoded_at_every_step_of_the_flow():
    calls = []

    class Counting:
        def encode(self, inputs):
            calls.append("encode")

        def infer(self, inputs, noise):
            self.encode(inputs)
            calls.append("denoise")

    infer_uncached(Counting(), None, None, 4)
    assert calls == ["encode"] * 4 + ["denoise"]


def test_a_checkpoint_is_measured_whole_and_by_parts_and_its_error_is_told(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "c", checkpoint)
    pairs = [("eager", "fp32"), ("eager", "bf16")]
    exact, narrow = measure(Subject.of_checkpoint(tmp_path / "c"), pairs, "cpu", threads=1, runs=5)
    assert exact.error == 0
    assert 1e-5 < narrow.error < 0.2
    for found in (exact, narrow):
        assert 0 < found.step.median < found.whole.median <= found.whole.p99
        assert 0 < found.prefix.median < found.uncached.median
        assert found.peak_memory_gb > 0.05
    assert exact.roofline_ms == pytest.approx(exact.prefix_roofline_ms + 4 * exact.step_roofline_ms)
