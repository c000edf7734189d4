"""Tasks as rewards: what a trainer gets for a response, by the task's own parser and metric."""
