"""The command line: one file a subject, each with its commands' options and what they do."""

from mibe.cli.main import main, parser

__all__ = ["main", "parser"]
