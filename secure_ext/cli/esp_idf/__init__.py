# SPDX-License-Identifier: Apache-2.0
"""How the package fits into ESP-IDF: actions of idf.py, the menu in menuconfig, the build hook.

Part of the fronts: it may use everything, and only the fronts use it.
"""
