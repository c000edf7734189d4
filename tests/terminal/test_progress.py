"""Progress shows by default where somebody sees it: in a terminal, and in a notebook.

IPython is not among the packages of the tests: in its place stands what `is_notebook` asks it. The library was tried in
real kernels of Jupyter, with ipywidgets and without.
"""

import sys
from types import ModuleType, SimpleNamespace

import pytest

import mibe
from mibe.terminal.progress import Terminal, is_notebook, is_watched


@pytest.fixture
def kernel(monkeypatch, capsys):
    """This process as the kernel of a notebook; gives what its page shows of standard error."""
    module = ModuleType("IPython")
    module.get_ipython = lambda: SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", module)
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_ipython_without_a_kernel_is_no_notebook(shell, monkeypatch, capsys):
    module = ModuleType("IPython")
    module.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert not is_notebook() and not is_watched()


def test_a_run_in_a_notebook_says_how_far_it_is(kernel, tmp_path, recwarn):
    mibe.evaluate(model="dummy", tasks="pubmedqa", limit=5, resamples=20, output_dir=tmp_path)
    page = kernel()
    assert "run folder: " in page and "5/5" in page
    assert not [warning for warning in recwarn if "tqdm" in str(warning.category).lower()]


def test_a_script_in_a_pipe_says_nothing(tmp_path, capsys):
    mibe.evaluate(model="dummy", tasks="pubmedqa", limit=5, resamples=20, output_dir=tmp_path)
    assert capsys.readouterr().err == ""


def test_a_caller_may_still_have_silence(kernel, tmp_path):
    mibe.evaluate(model="dummy", tasks="pubmedqa", limit=5, resamples=20, output_dir=tmp_path, progress=mibe.Silent())
    assert kernel() == ""


def test_the_bar_counts_from_what_was_there(kernel):
    with Terminal() as progress:
        progress.start("pubmedqa", total=4, done=2)
        progress.advance()
        progress.advance()
    page = kernel()
    assert "4/4" in page and "2/4" in page
