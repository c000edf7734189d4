"""One reader a raw format. Each is a `mibe.task.Source`: it turns the files of the official download into examples."""
