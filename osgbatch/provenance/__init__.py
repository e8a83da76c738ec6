"""What a batch was made of and what came of it: written as an RO-Crate, checked, read again."""
