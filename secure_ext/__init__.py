# SPDX-License-Identifier: Apache-2.0
"""Sign, encrypt and provision ESP-IDF projects from the host."""

__version__ = "0.2.0"
