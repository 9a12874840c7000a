"""``python -m deepfake_repro``: see ``cli``."""

import sys

from .cli import main

sys.exit(main())
