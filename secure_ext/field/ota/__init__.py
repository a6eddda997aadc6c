# SPDX-License-Identifier: Apache-2.0
"""Update packages for boards that were provisioned with a bundle; nothing that goes over a cable."""
