# SPDX-License-Identifier: Apache-2.0
"""The commands of the console script, one file for those that go together; `secure_ext.cli.main` collects them."""
