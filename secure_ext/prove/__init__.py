# SPDX-License-Identifier: Apache-2.0
"""What looks at a bundle, a board or a chip and says what is wrong; nothing that makes any of them."""
