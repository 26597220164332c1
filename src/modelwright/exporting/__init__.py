"""Exports: a model written for another runtime, read back there, and compared with the original."""
