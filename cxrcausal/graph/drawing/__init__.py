"""A graph to look at, and in the words of other programs."""
