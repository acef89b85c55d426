"""The program `transect`."""
