"""Whether a fit holds on rows of other patients."""
