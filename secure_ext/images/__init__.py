"""PRODUCE flash encryption and Secure Boot V2 signatures."""
