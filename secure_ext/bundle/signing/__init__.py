"""Who signs the images of a bundle: keys at hand, in tokens, and signatures that are made elsewhere."""
