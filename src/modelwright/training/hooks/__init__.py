"""Hooks, one a file."""
