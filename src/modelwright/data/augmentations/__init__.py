"""Augmentations, one file each; found by their registry."""
