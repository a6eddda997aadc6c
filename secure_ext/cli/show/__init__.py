# SPDX-License-Identifier: Apache-2.0
"""All text for terminals and for programs that read it; nothing that decides."""
