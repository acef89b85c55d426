"""What is asked: a study file, its grid of cells, its cost and its outcomes."""
