"""`python -m withhold.cli` is `withhold`."""

import sys

from withhold.cli import main

sys.exit(main())
