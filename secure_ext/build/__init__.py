"""One finished ESP-IDF build, read once; nothing that judges it."""
