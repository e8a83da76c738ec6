"""`--host`: typed on a laptop, run on an access point; files go there and results come back."""
