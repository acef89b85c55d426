"""The net: the hub of models, addresses, and what is kept secret."""
