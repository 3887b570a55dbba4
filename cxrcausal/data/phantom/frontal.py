"""The frontal projection, from behind (PA) or from the front (AP), as attenuation along the beam.

In AP the heart is farther from the detector and larger, breath is shallower, and the shoulder
blades lie over the lungs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from cxrcausal.data.phantom.anatomy import Body
from cxrcausal.data.phantom.primitives import chord, edge, segment, stroke, whole_power

__all__ = ["Chest", "frontal"]

AIR = 0.70
"""What a lung takes from the soft tissue in whose place it stands."""
RIBS = 9


@final
@dataclass(frozen=True)
class Lung:
    """One lung.

    Arguments:
        sign: -1 for the patient's right lung, left in the image; 1 for the left one.
        centre: Its middle, (x, y).
        radii: Its half axes.
        dome: The diaphragm's height (batch, height, width) at every x.
        shape: Its thickness, 0 outside.
        is_side: 1 where one-sided findings are on this side.
    """

    sign: float
    centre: tuple[Tensor, Tensor]
    radii: tuple[Tensor, Tensor]
    dome: Tensor
    shape: Tensor
    is_side: Tensor

    def rows(self, some: Tensor) -> "Lung":
        """Returns the lung of some of the patients."""
        return Lung(
            self.sign,
            (self.centre[0][some], self.centre[1][some]),
            (self.radii[0][some], self.radii[1][some]),
            self.dome[some],
            self.shape[some],
            self.is_side[some],
        )

    def lateral(self, x: Tensor) -> Tensor:
        """Returns how far to the outside a pixel is: 0 at the lung's middle, 1 at its edge."""
        return self.sign * (x - self.centre[0]) / self.radii[0]


@final
@dataclass(frozen=True)
class Chest:
    """The frame that the parts of a frontal projection share: pixels, bodies and their lungs."""

    x: Tensor
    y: Tensor
    body: Body
    ap: Tensor
    lungs: tuple[Lung, Lung]
    rim: float

    @classmethod
    def of(cls, body: Body, x: Tensor, y: Tensor) -> "Chest":
        """Returns the frame of some bodies on a pixel grid."""
        x = x + 0.02 * body["rotation"]
        ap, rim = body.is_level("view", "AP"), float(y[1, 0] - y[0, 0]) * 0.5
        lungs = tuple(cls._lung(body, x, y, sign, ap, rim) for sign in (-1.0, 1.0))
        return cls(x, y, body, ap, lungs, rim)  # type: ignore[arg-type]

    @staticmethod
    def _lung(body: Body, x: Tensor, y: Tensor, sign: float, ap: Tensor, rim: float) -> Lung:
        wide = 1 + 0.05 * body["lung_width"] + 0.05 * body.male
        centre = (sign * 0.42 * wide, torch.full_like(wide, -0.02))
        radii = (0.35 * wide, 0.72 + 0.02 * body["height"] + 0.02 * body.male)
        is_side = body.right_sided if sign < 0 else 1 - body.right_sided
        lifted = 0.08 * body.has("atelectasis") * is_side
        top = 0.40 + 0.045 * body["inspiration"] - 0.07 * ap - lifted + 0.04 * (sign > 0)
        dome = top + 0.27 * ((x - 0.95 * centre[0]) / radii[0]).square()
        shape = chord(x, y, centre, radii, power=3) * edge(dome - y, 2 * rim)
        return Lung(sign, centre, radii, dome, shape, is_side)

    def rows(self, some: Tensor) -> "Chest":
        """Returns the frame of some of the patients."""
        right, left = (lung.rows(some) for lung in self.lungs)
        x = self.x[some]
        return Chest(x, self.y, self.body.rows(some), self.ap[some], (right, left), self.rim)

    def only(self, finding: str, draw: Callable[["Chest"], Tensor]) -> Tensor:
        """Returns what a finding adds: drawn for those who have it, 0 for the others."""
        some = self.body.has(finding).flatten() > 0
        drawn = torch.zeros_like(self.lungs[0].shape)
        if bool(some.any()):
            drawn[some] = draw(self.rows(some))
        return drawn

    @property
    def air(self) -> Tensor:
        """The thickness of both lungs."""
        return self.lungs[0].shape + self.lungs[1].shape

    @property
    def affected(self) -> Tensor:
        """The thickness of the lung in which one-sided findings are."""
        return sum((lung.is_side * lung.shape for lung in self.lungs), torch.zeros_like(self.x))

    @property
    def affected_sign(self) -> Tensor:
        """-1 where one-sided findings are on the image's left, else 1."""
        return 1 - 2 * self.body.right_sided


def frontal(body: Body, x: Tensor, y: Tensor) -> Tensor:
    """Returns the attenuation (batch, height, width) of bodies from behind or from the front."""
    chest = Chest.of(body, x, y)
    lost = chest.only("pneumothorax", _free_air)
    marks = _vessels(chest) * (1 - lost)
    mediastinum = _mediastinum(chest)
    free = 1 - 0.85 * edge(mediastinum - 0.3, 0.08)  # of what stands before and behind the heart
    lungs = AIR * chest.air.sqrt() * free
    return (
        _soft_tissue(chest)
        - lungs
        - 0.16 * lost * chest.air.sqrt() * free
        + 0.55 * mediastinum
        + free * (marks + sum(chest.only(name, draw) for name, draw in IN_THE_LUNG.items()))
        + _bones(chest)
        + sum(chest.only(name, draw) for name, draw in BEFORE_THE_LUNG.items())
    )


def _soft_tissue(c: Chest) -> Tensor:
    body = c.body
    wide = 0.90 + 0.04 * body["width"] + 0.05 * body["fat"] + 0.04 * body.male
    neck = 0.24 + 0.01 * body["fat"]
    outline = neck + (wide + 0.35 - neck) * edge(c.y + 0.72 + 0.12 * (c.x.abs() - 0.5), 0.07)
    depth = (1 - (c.x / outline).square()).clamp(min=0).sqrt() * edge(outline - c.x.abs(), 0.01)
    tissue = (0.86 + 0.05 * body["fat"]) * depth
    below = sum(
        (edge(lung.dome - c.y, 0.03) * edge(lung.sign * c.x, 0.05) for lung in c.lungs),
        torch.zeros_like(c.x),
    )
    abdomen = 0.32 * (1 - below) * edge(c.y - 0.2, 0.05) * depth
    stomach = -0.25 * chord(
        c.x, c.y, (0.40 + 0.05 * body["level"], 0.68 - 0.03 * body["inspiration"]), (0.15, 0.10)
    )
    size = 0.20 + 0.03 * body["breast"] + 0.02 * body["fat"]
    breasts = sum(
        (chord(c.x, c.y, (s * 0.50, 0.30 + 0.04 * body["breast"]), (1.3 * size, 1.1 * size))
         for s in (-1, 1)),
        torch.zeros_like(c.x),
    )  # fmt: skip
    return tissue + abdomen + stomach + (0.22 - 0.17 * body.male) * breasts


def _mediastinum(c: Chest) -> Tensor:
    """Heart, great vessels and what lies between the lungs."""
    body = c.body
    near = 1 + 0.12 * c.ap
    wide = near * (1 + 0.06 * body["heart_width"] + 0.015 * body.decades)
    wide = wide * (1 + (0.36 * body.severity) * body.has("cardiomegaly"))
    tall = near * (1 + 0.05 * body["heart_height"] + 0.10 * body.has("cardiomegaly"))
    place = (0.11 + 0.012 * body["heart_place"], 0.26 - 0.02 * body["inspiration"] - 0.03 * c.ap)
    heart = chord(c.x, c.y, place, (0.30 * wide, 0.25 * tall), tilt=0.55)
    swell = 1 + (0.75 * body.severity) * body.has("enlarged_cardiomediastinum")
    half = near * swell * (0.115 + 0.01 * body["hilum"] + 0.006 * body.decades)
    upper = edge(half - (c.x - 0.02).abs(), 0.02) * edge(c.y + 1.1, 0.05) * edge(0.55 - c.y, 0.05)
    knob = chord(
        c.x, c.y,
        (0.115 * near * swell.sqrt() + 0.010 * body.decades, -0.30 - 0.02 * body["aorta"]),
        (0.075 + 0.008 * body.decades + 0.008 * body["aorta"], 0.085),
    )  # fmt: skip
    trachea = edge(0.035 - (c.x + 0.01).abs(), 0.012) * edge(-0.22 - c.y, 0.03)
    return torch.maximum(heart, torch.maximum(0.62 * upper, 0.75 * knob)) - 0.30 * trachea


def _vessels(c: Chest) -> Tensor:
    """Hila and the vessels that branch from them, finer to the outside."""
    body = c.body
    total = torch.zeros_like(c.x)
    for lung in c.lungs:
        hilum = (lung.sign * (0.17 + 0.01 * body["hilum"]), 0.0 - 0.02 * lung.sign)
        total = total + 0.16 * chord(c.x, c.y, hilum, (0.10, 0.13))
        for k in range(7):
            angle = -1.25 + 0.42 * k + 0.08 * torch.sin(3.1 * k + body["vessels"] + lung.sign)
            length = 0.42 + 0.08 * torch.cos(1.7 * k + body["vessels"])
            end = (
                hilum[0] + lung.sign * length * angle.cos(),
                hilum[1] + 1.2 * length * angle.sin(),
            )
            start = (0.75 * hilum[0] + 0.25 * end[0], 0.75 * hilum[1] + 0.25 * end[1])
            away = (c.x - hilum[0]).abs() / 0.5
            line = stroke(segment(c.x, c.y, start, end), 0.018 * (1.15 - away.clamp(max=0.8)))
            total = total + 0.16 * line * (1 - 0.7 * away).clamp(min=0)
    return total * c.air.sqrt()


def _edema(c: Chest) -> Tensor:
    """Haze around the hila, and lines at the base and the outside."""
    wings = sum(
        (stroke(((c.x - s * 0.28).square() + (0.8 * (c.y - 0.02)).square()).sqrt(), 0.20)
         for s in (-1, 1)),
        torch.zeros_like(c.x),
    )  # fmt: skip
    lines = sum((stroke(c.y - (0.20 + 0.07 * k), 0.010) for k in range(4)), torch.zeros_like(c.y))
    outside = sum(
        (edge(lung.lateral(c.x) - 0.35, 0.08) * lung.shape for lung in c.lungs),
        torch.zeros_like(c.x),
    )
    return 0.34 * c.body.severity * wings * c.air.sqrt() + 0.10 * lines * outside


def _consolidation(c: Chest) -> Tensor:
    """A lower lobe filled up to its fissure."""
    side = c.affected_sign
    fissure = 0.10 + 0.05 * c.body["level"] + 0.2 * side * (c.x - 0.4 * side)
    return 0.50 * c.body.severity * edge(c.y - fissure, 0.012) * c.affected.sqrt()


def _pneumonia(c: Chest) -> Tensor:
    """Patches that run into each other, in an upper or middle field."""
    body, patches = c.body, torch.zeros_like(c.x)
    for k in range(7):
        turn = 2.4 * k + body["place"]
        reach = 0.05 + 0.016 * k
        x = c.affected_sign * (0.40 + reach * turn.cos())
        y = -0.26 + 0.10 * body["level"].clamp(-1.5, 1.5) + 1.3 * reach * turn.sin()
        away = ((c.x - x).square() + (c.y - y).square()).sqrt()
        patches = patches + stroke(away, 0.045 + 0.006 * ((3 * k) % 4) + 0.004 * body["extent"])
    return 0.34 * body.severity * patches.clamp(max=1.3) * c.affected.sqrt()


def _opacity(c: Chest) -> Tensor:
    """A veil over the upper part of the other lung."""
    veil = edge(-0.02 + 0.05 * c.body["extent"] - c.y, 0.15)
    return 0.26 * c.body.severity * veil * (c.air - c.affected).clamp(min=0).sqrt()


def _lesion(c: Chest) -> Tensor:
    """A round nodule in the other lung."""
    x = -c.affected_sign * (0.42 + 0.05 * c.body["place"]).clamp(0.30, 0.55)
    y = 0.06 + 0.08 * c.body["level"].clamp(-1.5, 1.5)
    radius = 0.070 + 0.008 * c.body["extent"]
    return 0.55 * chord(c.x, c.y, (x, y), (radius, radius))


def _atelectasis(c: Chest) -> Tensor:
    """Plates above the diaphragm, which stands higher on that side."""
    side = c.affected_sign
    out = side * (c.x - 0.4 * side)
    height = 0.28 - 0.05 * c.body["level"].clamp(-1, 1)
    plates = stroke(c.y - height - 0.25 * out, 0.020)
    plates = plates + 0.7 * stroke(c.y - height + 0.11 + 0.15 * out, 0.015)
    return 0.42 * c.body.severity * plates * c.affected.sqrt()


def _effusion(c: Chest) -> Tensor:
    """Pleural effusion: fluid in the costophrenic angle, its surface a meniscus."""
    body, total = c.body, torch.zeros_like(c.x)
    for lung in c.lungs:
        out = lung.lateral(c.x)
        rise = 0.45 + 0.55 * (0.5 + 0.5 * out).clamp(0, 1) ** 3
        surface = lung.dome - 0.02 - 0.34 * body.severity * rise
        fluid = edge(c.y - surface, 0.012) * lung.shape.sqrt()
        total = total + AIR * 0.95 * fluid * lung.is_side
    return total


def _inner(c: Chest, lung: Lung) -> Tensor:
    """Distance inside a collapsed lung's edge: positive within it."""
    share = 0.80 - 0.03 * c.body["extent"]
    dx = (c.x - lung.sign * 0.10) / (share * (0.32 + lung.radii[0]))
    dy = (c.y - 0.16) / (share * (0.18 + lung.radii[1]))
    return 1 - (whole_power(dx, 3) + whole_power(dy, 2)).clamp(min=1e-6).sqrt()


def _free_air(c: Chest) -> Tensor:
    """Where the lung has left the chest wall: 1 in the free air."""
    total = torch.zeros_like(c.x)
    for lung in c.lungs:
        total = total + lung.is_side * (1 - edge(_inner(c, lung), 0.02)) * (lung.shape > 0)
    return total


def _lung_edge(c: Chest) -> Tensor:
    """The visceral pleura of a collapsed lung: a fine white line."""
    total = torch.zeros_like(c.x)
    for lung in c.lungs:
        total = total + lung.is_side * stroke(_inner(c, lung), 0.03) * lung.shape.sqrt()
    return 0.35 * total


def _pleura(c: Chest) -> Tensor:
    """Thickened pleura along the outer wall and the apex, with a calcified plaque."""
    body, total = c.body, torch.zeros_like(c.x)
    for lung in c.lungs:
        dx = (c.x - lung.centre[0]) / lung.radii[0]
        dy = (c.y - lung.centre[1]) / lung.radii[1]
        depth = 1 - (whole_power(dx, 3) + whole_power(dy, 3)).clamp(min=1e-6) ** (1 / 3)
        band = stroke(depth - 0.05, 0.06) * edge(lung.lateral(c.x) - 0.1, 0.1)
        cap = stroke(depth - 0.05, 0.09) * edge(-0.52 - c.y, 0.04)
        wall = (band * edge(0.30 - c.y, 0.05) + cap) * edge(depth, 0.02)
        plaque = chord(c.x, c.y, (lung.centre[0] * 1.05, lung.dome - 0.02), (0.11, 0.022))
        total = total + (1 - lung.is_side) * (0.40 * body.severity * wall + 0.35 * plaque)
    return total


def _bones(c: Chest) -> Tensor:
    body = c.body
    dense = 1 + 0.08 * body["bone"] - 0.05 * body.decades + 0.06 * body.male
    wide = 0.075 + 0.004 * body["spine"]
    discs = 0.8 + 0.2 * torch.cos(2 * math.pi * (c.y + 0.02 * body["spine"]) / 0.135)
    spine = 0.34 * (1 - (c.x / wide).square()).clamp(min=0).sqrt() * discs
    clavicles = sum(
        (stroke(
            segment(c.x, c.y, (s * 0.07, -0.60 + 0.01 * body["clavicle"]),
                    (s * 0.66, -0.71 + 0.03 * body["clavicle"]))
            + 0.03 * torch.sin(5 * c.x), 0.026)
         for s in (-1, 1)),
        torch.zeros_like(c.x),
    )  # fmt: skip
    out = 0.86 - 0.25 * c.ap  # in PA the arms turn the shoulder blades off the lungs
    blades = sum(
        (chord(c.x, c.y, (s * out, -0.30), (0.13, 0.30), tilt=s * 0.25)
         for s in (-1, 1)),
        torch.zeros_like(c.x),
    )  # fmt: skip
    rims = sum(
        (stroke(segment(c.x, c.y, (s * (out - 0.12), -0.52), (s * (out - 0.02), -0.02)), 0.016)
         for s in (-1, 1)),
        torch.zeros_like(c.x),
    )  # fmt: skip
    ribs = _ribs(c, broken=False)
    some = body.has("fracture").flatten() > 0
    if bool(some.any()):
        ribs[some] = _ribs(c.rows(some), broken=True)
    return dense * (spine + ribs + 0.30 * clavicles + 0.14 * blades + 0.11 * rims)


def _ribs(c: Chest, *, broken: bool) -> Tensor:
    """Posterior ribs, and the anterior ones, which are paler and slope the other way."""
    body = c.body
    s = c.x.abs()
    cage = 0.80 * (1 + 0.04 * body["lung_width"] + 0.04 * body.male)
    step = 0.125 + 0.004 * body["ribs"]
    total = torch.zeros_like(c.lungs[0].shape)
    for k in range(RIBS):
        start = -0.66 + step * k
        slope = 0.16 + 0.03 * k + 0.02 * body["slope"]
        half = cage * min(1.0, 0.52 + 0.16 * k)
        centre = start + slope * (s - 0.06) + 0.32 * (s - 0.06).clamp(min=0).square()
        dense = 0.13 * edge(half - s, 0.02) * edge(s - 0.05, 0.01)
        if broken:
            centre, weight = _fracture(c, k, centre, half)
            dense = dense * weight
        across = ((c.y - centre) / 0.030).square().clamp(max=25)
        total += dense * torch.exp(-1.1 * across) * (0.8 + 0.6 * across)  # the rim is denser
        front = start + 0.42 - 0.55 * (half - s)
        inner = edge(half - s, 0.02) * edge(s - 0.38, 0.05) * edge(0.45 - front, 0.05)
        total += 0.07 * inner * stroke((c.y - front) / 0.032, 0.8)
    return total


def _fracture(c: Chest, k: int, centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Returns where a rib of those with a fracture runs, and how dense it is along its way.

    Two neighbouring ribs break, their outer parts displaced, with callus at the gap.
    """
    body = c.body
    first = 3 + (body["level"] > 0).to(c.x.dtype)
    here = ((k == first) | (k == first + 1)).to(c.x.dtype) * edge(c.affected_sign * c.x, 0.01)
    beyond = c.x.abs() - half * (0.74 + 0.03 * body["place"].clamp(-1.5, 1.5))
    moved = centre + 0.065 * here * edge(beyond, 0.006)
    weight = 1 - here * stroke(beyond, 0.03) + 3.0 * here * stroke(beyond.abs() - 0.06, 0.03)
    return moved, weight


def _devices(c: Chest) -> Tensor:
    """A tube in the trachea, a central line, and for some a pacemaker, for others electrodes."""
    body = c.body
    tube = stroke(segment(c.x, c.y, (-0.012, -1.0), (-0.005, -0.36)), 0.012)
    joint = (-0.16 - 0.02 * body["device"], -0.60)
    line = torch.minimum(
        segment(c.x, c.y, (-0.30, -1.0), joint), segment(c.x, c.y, joint, (-0.09, 0.02))
    )
    box_at = (0.62 + 0.02 * body["device"], -0.50)
    box = edge(
        1 - ((c.x - box_at[0]) / 0.11).abs() ** 4 - ((c.y - box_at[1]) / 0.09).abs() ** 4, 0.05
    )
    lead = torch.minimum(
        segment(c.x, c.y, box_at, (0.16, -0.58)), segment(c.x, c.y, (0.16, -0.58), (0.05, 0.40))
    )
    paced = (body.traits["device"] > 0).to(c.x.dtype)
    electrodes = sum(
        (stroke(((c.x - px).square() + (c.y - py).square()).sqrt(), 0.028)
         for px, py in ((-0.62, -0.42), (0.62, -0.42), (-0.58, 0.42), (0.60, 0.36))),
        torch.zeros_like(c.x),
    )  # fmt: skip
    device = (
        0.45 * tube
        + 0.50 * stroke(line, 0.012)
        + paced * (0.85 * box + 0.5 * stroke(lead, 0.011))
        + (1 - paced) * 0.5 * electrodes
    )
    return device


IN_THE_LUNG = {
    "edema": _edema,
    "consolidation": _consolidation,
    "pneumonia": _pneumonia,
    "lung_opacity": _opacity,
    "lung_lesion": _lesion,
    "atelectasis": _atelectasis,
}
"""Findings that heart and mediastinum cover where they overlap."""

BEFORE_THE_LUNG = {
    "pleural_effusion": _effusion,
    "pleural_other": _pleura,
    "pneumothorax": _lung_edge,
    "support_devices": _devices,
}
