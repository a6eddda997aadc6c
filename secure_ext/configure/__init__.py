# SPDX-License-Identifier: Apache-2.0
"""From wishes to a project's configuration: symbols and partition table; it reads no image and makes no plan."""
