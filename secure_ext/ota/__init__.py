"""PRODUCE: update packages for boards that were provisioned with a bundle."""
