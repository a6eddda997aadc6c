# SPDX-License-Identifier: Apache-2.0
"""One finished ESP-IDF build, read once; nothing that judges it."""
