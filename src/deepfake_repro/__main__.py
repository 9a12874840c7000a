"""Run the command line as ``python -m deepfake_repro``."""

import sys

from .cli import main

sys.exit(main())
