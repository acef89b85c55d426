"""Curves of a result against size, data or time."""
