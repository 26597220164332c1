"""Showing what was found: plots and pages."""
