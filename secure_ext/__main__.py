# SPDX-License-Identifier: Apache-2.0
"""``python -m secure_ext``: the same as the console script ``secure-provision``."""

import sys
from pathlib import Path

if not __package__:  # run by its path, as a component of a project that is installed nowhere
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from secure_ext.cli.main import main

if __name__ == "__main__":
    main()
