# SPDX-License-Identifier: Apache-2.0
"""What the user wants: settings, profile, and how they resolve against a build; nothing that is burned."""
