"""What libraries say of themselves, kept from burying the figures of a run."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def quieten() -> None:
    """No warnings of what will be deprecated, and of torch's communication errors alone.

    Before torch is imported. What the user asked for by -W, PYTHONWARNINGS or TORCH_CPP_LOG_LEVEL stays.
    """
    if not sys.warnoptions:
        for category in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
