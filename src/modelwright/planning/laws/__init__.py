"""Scaling laws: curves through runs of growing size, what they foretell, and when they must not."""
