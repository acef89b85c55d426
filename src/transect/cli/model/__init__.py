"""Commands on one model."""
