"""Measures of how a model does it: they look inside."""
