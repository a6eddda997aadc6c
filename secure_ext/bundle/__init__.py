# SPDX-License-Identifier: Apache-2.0
"""The bundle: manifest, images, keys' home, script, archive, statement, and their reader; nothing that proves it."""
