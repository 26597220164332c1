"""Layouts of `transformers` for decoders, one file each: which settings fit, and where the weights go."""
