"""Outputs made elsewhere, in the tables that mibe writes for others."""

import csv

from mibe.analysis.outputs import read_outputs
from mibe.terminal.plain import cell


def test_an_id_that_a_spreadsheet_would_run_comes_back(tmp_path):
    ids = {"=1+1", "@x", "-5", "'quoted", "plain"}
    file = tmp_path / "outputs.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "output"), *((cell(ident), "yes") for ident in sorted(ids))])
    assert "'=1+1" in file.read_text()
    assert set(read_outputs(file, ids, partial=False)) == ids
