"""Reading and checking a configuration file: its text, its variables, its errors, and how secrets are hidden."""
