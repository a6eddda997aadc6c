# SPDX-License-Identifier: Apache-2.0
"""What tests of several folders share. Nothing in here is a test, and nothing of the package needs it."""
