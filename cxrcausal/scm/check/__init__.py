"""Whether a fit holds on rows that it has not seen."""
