"""Perturbations, one a file."""
