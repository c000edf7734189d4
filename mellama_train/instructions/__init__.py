"""The 214k instruction set of the paper (table 5) from its public sources: readers, prompts, sampling, one file."""
