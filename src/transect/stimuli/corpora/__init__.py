"""Corpora on which small models are trained, one file each."""
