# SPDX-License-Identifier: Apache-2.0
"""What is written down and read back, as typed documents, and their JSON Schemas; nothing that decides anything."""
