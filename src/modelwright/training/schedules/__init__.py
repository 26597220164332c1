"""Schedules, one a file."""
