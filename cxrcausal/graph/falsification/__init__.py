"""What data say of a graph: its claims, held against a table."""
