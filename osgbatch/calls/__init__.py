"""Python values and functions as what travels to execution points and back."""
