# SPDX-License-Identifier: Apache-2.0
"""Signing: who signs the images of a bundle, requests and answers; not what is signed."""
