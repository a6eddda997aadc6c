# SPDX-License-Identifier: Apache-2.0
"""The plan: its steps, their order, its document, and what differs between two; nothing that runs it."""
