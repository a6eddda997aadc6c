"""Key material: files, PEM, tokens, sealing; not what a key is used for."""
