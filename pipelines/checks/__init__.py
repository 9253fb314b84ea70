"""Checks of a model's card and files that are made before its weights are read; without torch."""
