"""A sample ESP-IDF build, made on the spot, for the demo and the tests."""
