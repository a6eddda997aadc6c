# SPDX-License-Identifier: Apache-2.0
"""Boards after provisioning: updates, and the rotation of signing keys."""
