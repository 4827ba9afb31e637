"""`python -m zvonim_sfu` is the command `zvonim-sfu`."""

from __future__ import annotations

import sys

from zvonim_sfu.cli import main

sys.exit(main())
