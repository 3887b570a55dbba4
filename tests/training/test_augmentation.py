"""Augmentation moves a radiograph a little and never turns its left into its right."""

import pytest
import torch

from cxrcausal.training import Augmentation, augment


@pytest.fixture
def radiographs():
    return torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_augmentation_without_change_is_the_identity(radiographs):
    still = Augmentation(rotation=0, shift=0, scale=0, contrast=0)
    same = augment(radiographs, still, torch.Generator().manual_seed(0))
    torch.testing.assert_close(same, radiographs, atol=1e-5, rtol=0)


def test_augmentation_never_flips(radiographs):
    """A radiograph that is bright on one side stays so."""
    half = torch.zeros(50, 1, 16, 16)
    half[..., :8] = 1
    moved = augment(half, Augmentation(), torch.Generator().manual_seed(0))
    assert (moved[..., :6].mean((1, 2, 3)) > 0.9).all()
    assert (moved[..., 10:].mean((1, 2, 3)) < 0.1).all()
