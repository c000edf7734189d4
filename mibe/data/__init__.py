"""Data sets: where they live, how their official files become examples, and those that ship with the package."""
