"""Where things lie: the project, its units, the store of cells, files and tables that people bring, the hub."""
