# SPDX-License-Identifier: Apache-2.0
"""One board's own keys: made, used, sealed or destroyed; nothing that all boards share."""
