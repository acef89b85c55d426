"""Reading, checking and extending the files of suites."""
