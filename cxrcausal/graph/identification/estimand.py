"""Formulas over a distribution of what is recorded: conditionals, products, ratios and sums.

Names stand for values. A summed name is bound as in logic: the same name outside the sum is
another value, and is printed without the prime that the bound one then carries.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

__all__ = ["Conditional", "Formula", "Product", "Ratio", "Sum", "free", "spell", "sum_out"]


@final
@dataclass(frozen=True)
class Conditional:
    """The probability of `head` given `given`."""

    head: tuple[str, ...]
    given: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Product:
    """All terms multiplied; 1 if there is none."""

    terms: tuple["Formula", ...]


@final
@dataclass(frozen=True)
class Ratio:
    """One formula over another."""

    above: "Formula"
    below: "Formula"


@final
@dataclass(frozen=True)
class Sum:
    """The formula summed over every value of the names `over`."""

    over: tuple[str, ...]
    of: "Formula"


Formula = Conditional | Product | Ratio | Sum


def free(formula: Formula) -> frozenset[str]:
    """Returns the names on whose values the formula depends as it is written."""
    match formula:
        case Conditional(head, given):
            return frozenset((*head, *given))
        case Product(terms):
            return frozenset[str]().union(*(free(t) for t in terms))
        case Ratio(above, below):
            return free(above) | free(below)
        case Sum(over, of):
            return free(of) - set(over)


def sum_out(formula: Formula, names: Collection[str]) -> Formula:
    """Returns the formula summed over `names`, shortened where a conditional sums to 1."""
    names = [n for n in names if n in free(formula)]
    if not names:
        return formula
    if isinstance(formula, Ratio) and free(formula.below).isdisjoint(names):
        return Ratio(sum_out(formula.above, names), formula.below)
    if isinstance(formula, Sum):
        # The inner names are bound already, and differ from `names`, which are free.
        return sum_out(formula.of, [*names, *formula.over])
    terms = formula.terms if isinstance(formula, Product) else (formula,)
    for name in names:
        holds = [t for t in terms if name in free(t)]
        if len(holds) == 1 and isinstance(holds[0], Conditional) and name in holds[0].head:
            rest = tuple(h for h in holds[0].head if h != name)
            left = [t for t in terms if t is not holds[0]]
            left += [Conditional(rest, holds[0].given)] if rest else []
            return sum_out(Product(tuple(left)), [n for n in names if n != name])
    inner = tuple(t for t in terms if not free(t).isdisjoint(names))
    outer = tuple(t for t in terms if free(t).isdisjoint(names))
    summed: Formula = Sum(tuple(names), Product(inner))
    if len(inner) == 1:
        summed = (
            sum_out(inner[0], names) if isinstance(inner[0], Sum) else Sum(tuple(names), inner[0])
        )
    return Product((*outer, summed)) if outer else summed


def spell(formula: Formula, order: Sequence[str] = ()) -> str:
    """Returns the formula as a line of text.

    Arguments:
        formula: The formula.
        order: The order in which names are listed; others come last.
    """
    place = {n: i for i, n in enumerate(order)}
    return _spell(formula, {n: n for n in free(formula)}, place)


def _spell(formula: Formula, label: Mapping[str, str], place: Mapping[str, int]) -> str:
    match formula:
        case Conditional(head, given):
            before = ", ".join(label[n] for n in _listed(head, place))
            after = ", ".join(label[n] for n in _listed(given, place))
            return f"P({before} | {after})" if after else f"P({before})"
        case Product(terms):
            sums_last = sorted(_flat(terms), key=lambda t: isinstance(t, Sum))
            last = len(sums_last) - 1
            said = [
                f"[{_spell(t, label, place)}]"
                if isinstance(t, Sum) and i < last
                else _spell(t, label, place)
                for i, t in enumerate(sums_last)
            ]
            return " ".join(said) or "1"
        case Ratio(above, below):
            return f"[{_spell(above, label, place)}] / [{_spell(below, label, place)}]"
        case Sum(over, of):
            inner = dict(label)
            for n in over:
                new = n
                while new in label.values():
                    new += "′"
                inner[n] = new
            names = ", ".join(inner[n] for n in _listed(over, place))
            return f"Σ_{{{names}}} {_spell(of, inner, place)}"


def _flat(terms: Sequence[Formula]) -> list[Formula]:
    found: list[Formula] = []
    for t in terms:
        found += _flat(t.terms) if isinstance(t, Product) else [t]
    return found


def _listed(names: Sequence[str], place: Mapping[str, int]) -> list[str]:
    return sorted(names, key=lambda n: (place.get(n, len(place)), n))
