"""The command line and what idf.py loads: all that prints, asks or exits."""
