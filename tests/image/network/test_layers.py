"""The parts of a velocity network's block against their definitions."""

import torch
from torch.nn import functional as F

from cxrcausal.image.network.layers import (
    Attention,
    RMSNorm,
    _rotate,
    rotary_angles,
    rotary_tables,
)


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_rms_norm_is_torch_s_own():
    x, norm = 3 * seeded(4, 5, 24), RMSNorm(24)
    norm.weight.data = seeded(24, seed=1)
    assert torch.allclose(norm(x), F.rms_norm(x, (24,), norm.weight, eps=1e-6), atol=1e-6)


def test_rms_norm_has_torch_s_gradient_and_a_finite_one_at_zero():
    mine = seeded(3, 8).requires_grad_()
    theirs = mine.detach().clone().requires_grad_()
    target = seeded(3, 8, seed=1)
    (RMSNorm(8, affine=False)(mine) * target).sum().backward()
    (F.rms_norm(theirs, (8,), eps=1e-6) * target).sum().backward()
    assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)

    zero = torch.zeros(2, 8, requires_grad=True)
    (RMSNorm(8, affine=False)(zero) * 2).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_rms_norm_keeps_the_type_and_computes_in_float32():
    small = torch.full((1, 16), 2.0**-12, dtype=torch.float16)  # its square is no float16
    norm = RMSNorm(16, affine=False)
    assert norm(small).dtype == torch.float16
    expected = F.rms_norm(small.float(), (16,), eps=1e-6).half()
    assert torch.allclose(norm(small), expected)


def test_rotation_is_a_product_of_complex_numbers():
    x, angles = seeded(2, 3, 16, 8), rotary_angles(4, 4, 8)
    turned = _rotate(x, *rotary_tables(angles))
    product = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)
    assert torch.allclose(turned, torch.cat([product.real, product.imag], dim=-1), atol=1e-6)


def test_attention_knows_where_tokens_stand_only_relative_to_each_other():
    attention, x, angles = Attention(16, 2), seeded(1, 9, 16), rotary_angles(3, 3, 8)
    moved = angles + rotary_angles(6, 6, 8)[-1]  # every token five rows and columns further
    here = attention(x, *rotary_tables(angles))
    assert torch.allclose(here, attention(x, *rotary_tables(moved)), atol=1e-5)
    still = torch.zeros_like(angles)
    assert not torch.allclose(here, attention(x, *rotary_tables(still)), atol=1e-3)
