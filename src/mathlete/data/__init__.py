"""Data pipelines: a row in, rows out or a drop with its reason."""
