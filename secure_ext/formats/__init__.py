# SPDX-License-Identifier: Apache-2.0
"""Bytes in, values out: images, partition tables, NVS, signatures, flash ciphers; no policy, no folder of a bundle."""
