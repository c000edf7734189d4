"""A run: settings, plan, responses and scores, tied together by `evaluate`."""
