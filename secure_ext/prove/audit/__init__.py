# SPDX-License-Identifier: Apache-2.0
"""A board against a plan, or against release mode: what is read, what is wanted, and every verdict."""
