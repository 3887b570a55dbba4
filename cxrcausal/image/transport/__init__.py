"""The transport at the noise end: what the learnt flow left of the parents in the noise."""

from cxrcausal.image.transport.noise_transport import NoiseTransport, TransportFit

__all__ = ["NoiseTransport", "TransportFit"]
