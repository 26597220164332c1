"""Layers, stems and heads: the pieces that networks are made of."""
