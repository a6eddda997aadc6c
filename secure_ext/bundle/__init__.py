"""PRODUCE the bundle: manifest, script, plain commands, written whole or not at all."""
