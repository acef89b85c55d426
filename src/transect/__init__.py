"""Transect: how far does a finding about one language model reach?"""

__version__ = "0.1.0"
