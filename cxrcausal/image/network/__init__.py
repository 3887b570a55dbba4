"""What a velocity is computed by: networks that read an image, a time and the image's parents."""

from cxrcausal.image.network.radit import RadiT

__all__ = ["RadiT"]
