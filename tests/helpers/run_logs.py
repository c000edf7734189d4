"""What runs have on disk."""


def responses(runs):
    return sum(path.read_bytes().count(b"\n") for path in runs.glob("*/samples/*.jsonl"))
