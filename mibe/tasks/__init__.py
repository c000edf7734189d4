"""The built-in tasks: one file a dataset. `mibe.registry` says which file holds which task."""
