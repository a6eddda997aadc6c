"""The plan: its steps, their order, its document, and what differs between two; nothing that runs it."""
