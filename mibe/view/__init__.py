"""All runs of a folder in a browser on this machine (`mibe view`): how far they are, the leaderboard, their reports.

The pages are those that `mibe report` and `mibe leaderboard --html` write, so what may stand in them is settled there.
"""
