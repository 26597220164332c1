"""Evaluation: how good a model is, beside its baselines, and what the summary says of it."""
