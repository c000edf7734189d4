"""Static pages: templates, styles and scripts that the leaderboard, the report of a run and the rating page share."""

from mibe.pages.writing import embed, environment, write_page

__all__ = ["embed", "environment", "write_page"]
