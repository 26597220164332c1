"""Metrics that stream: sums over examples, with a confidence interval from a bootstrap of these sums."""
