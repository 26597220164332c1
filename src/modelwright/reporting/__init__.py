"""Reporting: a run as a page that explains itself, and as a picture in a terminal."""
