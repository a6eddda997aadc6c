"""READ what ESP-IDF built: project description, flasher arguments, sdkconfig, partition table, images."""
