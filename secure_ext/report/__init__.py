# SPDX-License-Identifier: Apache-2.0
"""The page ``report.html`` of a bundle, made of its manifest, plan and rehearsal: one file, no script, no network."""
