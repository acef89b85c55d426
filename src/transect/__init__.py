"""Transect: how far does a finding about one language model reach?"""
