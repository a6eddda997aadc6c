"""DECIDE the ordered steps, and the doctor's rules."""
