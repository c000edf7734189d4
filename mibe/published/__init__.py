"""The figures that both versions of the Me-LLaMA paper print, as data."""
