"""All text for terminals and for programs that read it; nothing that decides."""
