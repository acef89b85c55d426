"""Units that are related by descent."""
