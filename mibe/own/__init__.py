"""Tasks made of one's own tables: a CSV, TSV, JSON lines, Parquet or XLSX file, a saved `datasets` folder, a task file.

What is made is an ordinary `Task` (`docs/own-data.md`). Nothing is imported here: who names a file pays for reading it.
"""
