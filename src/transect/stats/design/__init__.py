"""What a set of units can tell apart."""
