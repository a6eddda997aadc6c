"""PROVE the state of a device: the runner that becomes ``provision.py``."""
