"""The type checker of the tests: every annotated shape of the package is checked at every call.

Other annotations are left to mypy: tests hand wrong types to public functions on purpose, to read
the errors that users will read.
"""

import typing

from beartype import beartype
from jaxtyping import AbstractArray


def shapes(function):
    """Returns the function, its arguments and result checked where their annotation is a shape."""
    hints = getattr(function, "__annotations__", {})
    watched = {name: hint for name, hint in hints.items() if _is_shape(hint)}
    if not watched:
        return function
    function.__annotations__ = watched
    checked = beartype(function)
    function.__annotations__ = checked.__annotations__ = hints
    return checked


def _is_shape(hint):
    """Whether a shape stands in an annotation: alone, in a union or inside of a collection."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_is_shape(part) for part in typing.get_args(hint))
