"""Targets, one file each: what a model is written for."""
