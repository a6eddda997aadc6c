"""What becomes ``provision.py``, and nothing else: standard library only, Python 3.9 and later."""
