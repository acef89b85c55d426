"""Commands on the registry."""
