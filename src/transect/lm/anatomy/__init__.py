"""The parts of a network under one vocabulary."""
