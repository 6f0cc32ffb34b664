"""``python -m cadwright``: the same as the command ``cadwright``."""

from __future__ import annotations

import sys

from cadwright.apps.cli import main

sys.exit(main())
