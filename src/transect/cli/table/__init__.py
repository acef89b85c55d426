"""Commands on any table."""
