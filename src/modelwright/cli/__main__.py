"""`python -m modelwright.cli`."""

import sys

from modelwright.cli import main

sys.exit(main())
