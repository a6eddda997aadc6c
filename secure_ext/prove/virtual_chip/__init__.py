# SPDX-License-Identifier: Apache-2.0
"""A virtual ESP chip behind a socket, for the real esptool and espefuse to talk to; it runs in a process of its own."""
