"""The person in front of it: news and progress of a run, and the exit code of a command."""
