"""Who says whether a predicted diagnosis is the true one: the judges, and their verdicts on a run's samples."""
