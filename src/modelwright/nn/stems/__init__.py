"""Stems, one file each: from raw input to features."""
