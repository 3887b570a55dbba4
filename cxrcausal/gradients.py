"""Fits ask for gradients whatever mode they are called in.

`torch.no_grad()` is undone by `torch.enable_grad()`; `torch.inference_mode()` is not: a tensor
that is made in it can never be part of a backward pass, and an ordinary error of autograd says so
late. A fit therefore leaves the mode for as long as it takes, and copies what was made in it.
"""

import functools
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

__all__ = ["with_gradients"]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")


def with_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Returns a function that runs outside inference mode and with gradients, then as it was.

    Tensors among its arguments (alone, in a tuple, or in a mapping) that were made in inference
    mode are copied; parameters and buffers of modules are replaced by copies, in place.

    Example:
        >>> @with_gradients
        ... def slope(x):
        ...     x = x.requires_grad_(True)
        ...     return torch.autograd.grad((x * x).sum(), x)[0]
        >>> with torch.inference_mode():
        ...     slope(torch.tensor([3.0])).tolist()
        [6.0]
    """

    @functools.wraps(function)
    def outside(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            own = [_ordinary(argument) for argument in args]
            named = {name: _ordinary(argument) for name, argument in kwargs.items()}
            return function(*own, **named)  # type: ignore[arg-type]

    return outside


def _ordinary(argument: A) -> A:
    """Returns the argument with ordinary tensors in the place of those of inference mode."""
    if isinstance(argument, nn.Module):
        for module in argument.modules():
            for slots in (module._parameters, module._buffers):
                for name, tensor in slots.items():
                    if tensor is not None and tensor.is_inference():
                        slots[name] = _copy(tensor)
        return argument
    if isinstance(argument, Tensor):
        return cast(A, _copy(argument) if argument.is_inference() else argument)
    if isinstance(argument, tuple) and type(argument) is tuple:  # a named one is left alone
        return cast(A, tuple(_ordinary(part) for part in argument))
    if isinstance(argument, Mapping) and any(_is_made_in_inference(v) for v in argument.values()):
        return cast(A, {name: _ordinary(part) for name, part in argument.items()})
    return argument


def _is_made_in_inference(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_inference()


def _copy(tensor: Tensor) -> Tensor:
    """Returns an ordinary copy; of a parameter a parameter."""
    copied = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(copied, requires_grad=tensor.requires_grad)
    return copied
