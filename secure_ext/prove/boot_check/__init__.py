# SPDX-License-Identifier: Apache-2.0
"""Would this chip boot? Looks at eFuses and flash as silicon does, with none of the code that made the images."""
