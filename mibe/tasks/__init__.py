"""The built-in tasks: one file a dataset. This module only says which file holds which task."""

TASKS = {
    "pubmedqa": "mibe.tasks.pubmedqa:TASK",
    "medqa": "mibe.tasks.medqa:TASK",
    "medqa_4": "mibe.tasks.medqa:FOUR_OPTIONS",
    "medmcqa": "mibe.tasks.medmcqa:TASK",
    "ddi": "mibe.tasks.ddi:TASK",
    "hoc": "mibe.tasks.hoc:TASK",
    "mtsample": "mibe.tasks.mtsample:TASK",
    "mmlu": "mibe.tasks.mmlu:TASK",
    "mmlu_medical": "mibe.tasks.mmlu:MEDICAL",
}

GROUPS = {
    "mibe": ("pubmedqa", "medqa", "medmcqa", "ddi", "hoc", "mtsample"),
    "mibe_open": ("pubmedqa", "medqa", "medmcqa", "ddi", "hoc", "mtsample", "mmlu"),
    "qa": ("pubmedqa", "medqa", "medmcqa"),
    "relation_extraction": ("ddi",),
    "classification": ("hoc", "mtsample"),
    "forgetting": ("mmlu", "medqa"),
}
"""Group → tasks, by name on the command line wherever a task is."""
