# SPDX-License-Identifier: Apache-2.0
"""Checks a finished bundle offline, without private keys: a file for each group of checks, `verify.py` for all."""
