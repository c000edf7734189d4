"""`python -m mibe`."""

import sys

from mibe.cli import main

sys.exit(main())
