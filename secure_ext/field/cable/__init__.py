# SPDX-License-Identifier: Apache-2.0
"""Updates by cable: new images onto a board that was provisioned with a bundle, whatever its download mode allows."""
