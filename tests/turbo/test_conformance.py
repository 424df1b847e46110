from functools import partial

import mlx.core as mx
import numpy as np
import pytest

from tiny_models import CONFIGS, of
from worker.turbo import ConformanceError, attention_path, conformance, fused, leaving, make


@pytest.fixture
def changed_golden(tmp_path):
    """Return what writes the golden vectors with one array changed."""

    def change(name, new):
        with np.load(conformance.GOLDEN) as golden:
            arrays = {key: golden[key] for key in golden.files}
        arrays[name] = new(arrays[name])
        path = tmp_path / "golden.npz"
        np.savez(path, **arrays)
        return path

    return change


@pytest.fixture(autouse=True)
def fused_allowed():
    conformance.known.cache_clear()
    yield
    fused.enable(kernels=True)
    conformance.known.cache_clear()


def test_this_device_passes_the_golden_vectors():
    report = conformance.check()
    assert report.passed, report
    assert report.largest_error["portable"] < 1e-3
    assert report.largest_error["prompt"] < 2e-3


def test_a_single_wrong_bit_of_a_code_gives_no_cache(changed_golden):
    path = changed_golden(
        "codec/80/3/codes", lambda codes: codes ^ (np.arange(codes.size) == 7).reshape(codes.shape)
    )
    with pytest.raises(ConformanceError, match="codec/80/3"):
        conformance.require(path)


@pytest.mark.parametrize(
    ("failed", "dim", "refused"),
    [(80, 80, True), (80, 96, True), (80, 64, False), (64, 64, True), (64, 96, False)],
)
def test_a_model_is_refused_only_for_the_dimensions_of_its_heads(
    monkeypatch, changed_golden, failed, dim, refused
):
    path = changed_golden(f"codec/{failed}/3/codes", lambda codes: ~codes)
    conformance.known(path)  # as if it were the device's own
    monkeypatch.setattr(make, "known", lambda _: conformance.known(path))
    monkeypatch.setattr(make, "require", partial(conformance.require, path))
    model = of(CONFIGS["llama"] | {"head_dim": dim})
    if refused:
        with pytest.raises(ConformanceError, match=f"codec/{failed}/3"):
            make.make_cache(model)
    else:
        assert len(make.make_cache(model)) == len(model.layers)


def test_a_process_checks_once_whoever_asks(monkeypatch):
    checks, check = [], conformance.check
    monkeypatch.setattr(conformance, "check", lambda path: checks.append(path) or check(path))
    conformance.require()
    for _ in range(2):
        make.make_cache(of(CONFIGS["llama"]))
    assert len(checks) == 1


def test_wrong_portable_attention_gives_no_cache(changed_golden):
    path = changed_golden("attention/64/4/4/1/out", lambda out: out + 0.01)
    with pytest.raises(ConformanceError, match="portable attention/64"):
        conformance.require(path)


def test_wrong_kernels_are_left_for_the_portable_path(monkeypatch):
    def wrong(queries, view, scale, mask):
        return mx.zeros_like(queries)

    for module in (fused, conformance):
        monkeypatch.setattr(module, "runs_here", lambda: True)
    monkeypatch.setattr(conformance, "fused_attention", wrong)
    monkeypatch.setattr(leaving, "fused_encode", lambda *_: None)
    assert_left_for_portable()


def test_kernels_that_do_not_compile_are_left_for_the_portable_path(monkeypatch):
    def refused(*_):
        raise RuntimeError("no such function")

    for module in (fused, conformance):
        monkeypatch.setattr(module, "runs_here", lambda: True)
    monkeypatch.setattr(leaving, "fused_encode", refused)
    assert_left_for_portable()


def rounded(x):
    """Round float32 to the 10 bits of mantissa that TF32 has."""
    bits = np.array(x, dtype=np.float32).view(np.uint32)
    return mx.array(((bits + 0x1000) & 0xFFFFE000).astype(np.uint32).view(np.float32))


class OnlyAType:
    type = mx.DeviceType.gpu


def test_a_gpu_whose_products_have_ten_bits_passes_the_golden_vectors(monkeypatch):
    exact = mx.matmul
    monkeypatch.setattr(mx, "matmul", lambda a, b: exact(rounded(a), rounded(b)))
    coarse = conformance.check()
    assert "codec/80/8" in coarse.codec_failures  # so the rounding above is seen
    monkeypatch.setattr(mx, "default_device", OnlyAType)
    for module in (fused, conformance):
        monkeypatch.setattr(module, "runs_here", lambda: False)
    report = conformance.check()
    assert report.passed, report


def assert_left_for_portable():
    assert attention_path() == "fused"
    report = conformance.require()
    assert all(name.startswith("fused") for name in report.attention_failures)
    failed = {name.rpartition(" ")[2] for name in report.attention_failures}
    assert len(failed) == len(conformance.ATTENTION_CASES)
    assert attention_path() == "portable"


def test_the_check_leaves_next_to_no_memory_behind():
    conformance.check()
    mx.clear_cache()
    before = mx.get_active_memory()
    conformance.check()
    mx.clear_cache()
    assert mx.get_active_memory() - before < 10_000
