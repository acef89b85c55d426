"""The steps of the workflow, one process each: train, measure, gather, analyse, draw, report.
Snakemake calls them.
"""
