# SPDX-License-Identifier: Apache-2.0
"""The command line and what idf.py loads: all that prints, asks or exits."""
