# SPDX-License-Identifier: Apache-2.0
"""The folder for IDF_EXTRA_ACTIONS_PATH: idf.py imports every module in it whose name ends in ``_ext``."""
