"""What a run leaves behind: its folder, sample logs, record and tables, and the cache of responses."""
