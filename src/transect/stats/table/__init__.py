"""A formula fitted to a table, and what is said of it."""
