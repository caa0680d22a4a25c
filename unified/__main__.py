"""`python -m unified`: the command line."""

import sys

from unified.cli import main

sys.exit(main())
