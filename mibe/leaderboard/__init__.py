"""The published figures of the paper, own runs beside them, and the tables and page that show both."""
