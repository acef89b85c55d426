"""Activations read, changed, and what follows from it."""
