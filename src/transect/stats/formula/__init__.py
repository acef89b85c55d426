"""Model formulas."""
