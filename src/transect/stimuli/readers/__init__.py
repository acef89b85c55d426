"""Readers of the formats in which stimuli come."""
