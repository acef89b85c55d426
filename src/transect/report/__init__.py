"""What is shown: the page, its tables, figures and claims."""
