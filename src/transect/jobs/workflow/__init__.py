"""Running a study: the workflow, its progress and its stopping."""
