"""`python -m mellama_train`: the command line."""

import sys

from mellama_train.cli import main

sys.exit(main())
