"""The lateral projection, as attenuation along the beam: the front of the body on the left."""

import math

import torch
from torch import Tensor

from cxrcausal.data.phantom.anatomy import Body
from cxrcausal.data.phantom.frontal import AIR
from cxrcausal.data.phantom.primitives import chord, edge, segment, stroke, whole_power

__all__ = ["lateral"]


def lateral(body: Body, x: Tensor, y: Tensor) -> Tensor:
    """Returns the attenuation (batch, height, width) of bodies from the side.

    Findings stand where a lateral radiograph shows them: fluid in the posterior angle, the heart
    in front below, plates above the diaphragm.
    """
    rim = float(y[1, 0] - y[0, 0])
    lifted = 0.06 * body.has("atelectasis")
    dome = 0.34 + 0.045 * body["inspiration"] - lifted + 0.32 * (x + 0.15).clamp(min=0).square()
    lung = chord(x, y, (0.02, -0.05), (0.55 + 0.02 * body["lung_width"], 0.78), power=3)
    lung = lung * edge(dome - y, rim)
    air = lung.sqrt()
    depth = chord(x, y, (0.0, 0.15), (0.84 + 0.04 * body["fat"], 1.35), power=3)
    tissue = (1.10 + 0.05 * body["fat"]) * depth + 0.35 * edge(y - dome, 0.03) * depth
    breast = (0.20 - 0.16 * body.male) * chord(
        x, y, (-0.76, 0.22), (0.22 + 0.03 * body["breast"], 0.26)
    )
    heart = _heart(body, x, y)
    free = 1 - 0.8 * edge(heart - 0.3, 0.08)
    return (
        tissue
        + breast
        - 0.95 * AIR * air * free
        + 0.50 * heart
        + free * (_lungs(body, x, y, air) + _haze(body, x, y, air))
        + _fluid(body, x, y, lung, dome)
        + _bones(body, x, y)
        + _devices(body, x, y)
    )


def _heart(body: Body, x: Tensor, y: Tensor) -> Tensor:
    """The heart against the sternum, and the great vessels above it."""
    wide = 1 + 0.06 * body["heart_width"] + 0.015 * body.decades
    wide = wide * (1 + 0.40 * body.severity * body.has("cardiomegaly"))
    heart = chord(x, y, (-0.18, 0.20 - 0.02 * body["inspiration"]), (0.25 * wide, 0.24), tilt=-0.7)
    swell = 1 + 0.75 * body.severity * body.has("enlarged_cardiomediastinum")
    vessels = edge(0.13 * swell - (x + 0.02).abs(), 0.03) * edge(0.05 - y, 0.08)
    return torch.maximum(heart, 0.45 * vessels * edge(y + 0.75, 0.05))


def _lungs(body: Body, x: Tensor, y: Tensor, air: Tensor) -> Tensor:
    """Hila, vessels, and the free air of a pneumothorax with its line."""
    marks = 0.22 * chord(x, y, (0.04, -0.06), (0.12, 0.12))
    for k in range(8):
        angle = 0.785 * k + 0.1 * torch.sin(2.3 * k + body["vessels"])
        end = (0.04 + 0.38 * angle.cos(), -0.06 + 0.42 * angle.sin())
        marks = marks + 0.08 * stroke(segment(x, y, (0.04, -0.06), end), 0.015)
    inner = (
        1 - (((x - 0.06) / 0.40).square() + ((y - 0.08) / 0.55).square()).clamp(min=1e-6).sqrt()
    )
    free = body.has("pneumothorax") * (1 - edge(inner, 0.02))
    line = body.has("pneumothorax") * stroke(inner, 0.03)
    return air * (marks * (1 - free) - 0.10 * free + 0.30 * line)


def _haze(body: Body, x: Tensor, y: Tensor, air: Tensor) -> Tensor:
    """Findings that fill the lung."""
    centre = stroke(((x - 0.04).square() + (y + 0.04).square()).sqrt(), 0.24)
    edema = 0.34 * body.severity * centre * body.has("edema")
    lobe = edge(y - (0.05 + 0.05 * body["level"] - 0.5 * x), 0.012) * edge(x - 0.02, 0.012)
    consolidation = 0.42 * body.severity * lobe * body.has("consolidation")
    patches = torch.zeros_like(x)
    for k in range(7):
        turn, reach = 2.4 * k + body["place"], 0.05 + 0.016 * k
        at = (
            0.22 + reach * turn.cos(),
            -0.30 + 0.08 * body["level"].clamp(-1.5, 1.5) + 1.3 * reach * turn.sin(),
        )
        away = ((x - at[0]).square() + (y - at[1]).square()).sqrt()
        patches = patches + stroke(away, 0.045 + 0.006 * ((3 * k) % 4) + 0.004 * body["extent"])
    pneumonia = 0.30 * body.severity * patches.clamp(max=1.3) * body.has("pneumonia")
    veil = edge(-0.10 + 0.05 * body["extent"] - y, 0.15)
    opacity = 0.22 * body.severity * veil * body.has("lung_opacity")
    radius = 0.070 + 0.008 * body["extent"]
    spot = (0.30 + 0.04 * body["place"].clamp(-1.5, 1.5), 0.08)
    lesion = 0.50 * chord(x, y, spot, (radius, radius)) * body.has("lung_lesion")
    plate = stroke(y - 0.26 + 0.05 * body["level"].clamp(-1, 1) + 0.3 * x, 0.020)
    atelectasis = 0.38 * body.severity * plate * body.has("atelectasis")
    return air * (edema + consolidation + pneumonia + opacity + lesion + atelectasis)


def _fluid(body: Body, x: Tensor, y: Tensor, lung: Tensor, dome: Tensor) -> Tensor:
    """An effusion in the posterior angle; pleura thickened along the back, with a plaque."""
    rise = 0.25 + 0.75 * (x / 0.5).clamp(0, 1) ** 2
    surface = dome - 0.02 - 0.34 * body.severity * rise
    effusion = 0.85 * AIR * edge(y - surface, 0.012) * lung.sqrt() * body.has("pleural_effusion")
    depth = 1 - whole_power((x - 0.02) / 0.55, 3) - whole_power((y + 0.05) / 0.78, 3)
    wall = (
        stroke(depth - 0.08, 0.10) * edge(x - 0.1, 0.1) * edge(0.2 - y, 0.05) * edge(depth, 0.02)
    )
    plaque = chord(x, y, (torch.full_like(dome, -0.05), dome - 0.02), (0.13, 0.022))
    pleura = (0.38 * body.severity * wall + 0.35 * plaque) * body.has("pleural_other")
    return effusion + pleura


def _bones(body: Body, x: Tensor, y: Tensor) -> Tensor:
    """Spine behind, sternum in front, ribs that slope forward, one broken by a fracture."""
    dense = 1 + 0.08 * body["bone"] - 0.05 * body.decades + 0.06 * body.male
    bend = 0.55 + 0.10 * (1 - (y / 0.9).square()) + 0.01 * body.decades.clamp(min=0)
    discs = 0.75 + 0.25 * torch.cos(2 * math.pi * (y + 0.02 * body["spine"]) / 0.15)
    spine = 0.40 * (1 - ((x - bend) / 0.10).square()).clamp(min=0).sqrt() * discs
    sternum = 0.25 * stroke(segment(x, y, (-0.50, -0.55), (-0.66, 0.15)), 0.025)
    ribs = torch.zeros_like(spine)
    for k in range(8):
        centre = -0.72 + (0.135 + 0.004 * body["ribs"]) * k + 0.55 * (0.6 - x)
        broken = body.has("fracture") * float(k in (2, 3))
        beyond = 0.08 + 0.03 * body["place"].clamp(-1.5, 1.5) - x
        centre = centre + 0.065 * broken * edge(beyond, 0.006)
        gap = 1 - broken * stroke(beyond, 0.03) + 4.0 * broken * stroke(beyond.abs() - 0.06, 0.03)
        ribs = ribs + 0.055 * stroke((y - centre) / 0.03, 0.7) * gap * edge(0.55 - x.abs(), 0.03)
    return dense * (spine + sternum + ribs)


def _devices(body: Body, x: Tensor, y: Tensor) -> Tensor:
    """A tube, a central line, and for some a pacemaker, for others electrodes."""
    tube = 0.45 * stroke(segment(x, y, (-0.02, -1.0), (0.03, -0.36)), 0.012)
    line = 0.45 * stroke(segment(x, y, (-0.22, -1.0), (-0.06, 0.02)), 0.012)
    at = (-0.58 + 0.02 * body["device"], -0.46)
    box = edge(1 - ((x - at[0]) / 0.05).abs() ** 4 - ((y - at[1]) / 0.10).abs() ** 4, 0.05)
    lead = 0.5 * stroke(segment(x, y, at, (-0.20, 0.36)), 0.011)
    paced = (body.traits["device"] > 0).to(x.dtype)
    electrodes = sum(
        (stroke(((x - px).square() + (y - py).square()).sqrt(), 0.028)
         for px, py in ((-0.70, -0.35), (-0.72, 0.40), (0.62, -0.30))),
        torch.zeros_like(x),
    )  # fmt: skip
    drawn = tube + line + paced * (0.8 * box + lead) + (1 - paced) * 0.5 * electrodes
    return drawn * body.has("support_devices")
