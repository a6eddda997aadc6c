# SPDX-License-Identifier: Apache-2.0
"""Key material: files, PEM, tokens, sealing; not what a key is used for."""
