"""Has a model learned test questions by heart? (`docs/memorisation.md`)"""
