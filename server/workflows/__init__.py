"""The workflows that clients may ask for, one module each."""
