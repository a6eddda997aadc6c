"""READ what a chip offers: eFuse fields, key blocks, key purposes, signature schemes, limits."""
