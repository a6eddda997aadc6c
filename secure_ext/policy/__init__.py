"""DECIDE what the user wants: sdkconfig, overridden by a profile, validated."""
