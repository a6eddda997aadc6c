# SPDX-License-Identifier: Apache-2.0
"""A chip: its eFuses from espefuse's tables, with its row of the one table of facts; no build, no wish."""
