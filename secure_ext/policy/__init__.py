"""What the user wants: settings, profile, and how they resolve against a build; nothing that is burned."""
