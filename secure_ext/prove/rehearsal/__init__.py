# SPDX-License-Identifier: Apache-2.0
"""PROVE: the bundle's own script on a virtual chip, interrupted anywhere, and the check that the chip then boots."""
