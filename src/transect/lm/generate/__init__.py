"""Texts that a model writes."""
