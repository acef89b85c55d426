"""Statistics from tables to tables: mixed models, onsets, trends, verdicts. Knows nothing of
language models.
"""
