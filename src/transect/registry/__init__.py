"""What is studied: suites, runs, their checkpoints and design factors."""
