"""Measures of what a model does: they need its probabilities."""
