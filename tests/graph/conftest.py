"""Random graphs are drawn the same way in every run, and no machine is too slow for them."""

from hypothesis import settings

settings.register_profile("cxrcausal", deadline=None, derandomize=True)
settings.load_profile("cxrcausal")
