"""Commands on a study."""
