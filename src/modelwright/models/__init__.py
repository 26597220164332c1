"""Families of backbones, one file or folder each."""
