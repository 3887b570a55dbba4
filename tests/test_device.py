"""Where a network runs, and in which precision."""

import pytest
import torch

from cxrcausal.device import has_fast_bfloat16, resolve_device
from cxrcausal.errors import CxrCausalError


def test_names_of_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(CxrCausalError, match="'abacus' is not known; allowed: auto, cpu"):
        resolve_device("abacus")


def test_a_gpu_that_is_not_here_is_refused():
    with pytest.raises(CxrCausalError, match="'cuda:99' is not here"):
        resolve_device("cuda:99")


def test_emulated_bfloat16_is_not_fast(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert has_fast_bfloat16("cpu") is False


@pytest.mark.parametrize(("seconds", "fast"), [(0.1, True), (0.9, False), (5.0, False)])
def test_a_processor_is_asked_by_the_clock(monkeypatch, seconds, fast):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    times = {torch.bfloat16: seconds, torch.float32: 1.0}
    monkeypatch.setattr("cxrcausal.device._seconds", times.__getitem__)
    assert has_fast_bfloat16("cpu") is fast
