"""Boards after provisioning: updates, and the rotation of signing keys."""
