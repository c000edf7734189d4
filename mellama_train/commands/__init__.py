"""What each command does. Imports wait until a command needs them, so that `--help` is quick."""
