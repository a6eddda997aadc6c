"""Signing: who signs the images of a bundle, requests and answers; not what is signed."""
