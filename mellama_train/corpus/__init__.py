"""From raw files to packed rows: sources, cleaning, duplicates, decontamination, tokens, shards and the mixture."""
