# SPDX-License-Identifier: Apache-2.0
"""What becomes ``provision.py``, and nothing else: standard library only, Python 3.9 and later."""
