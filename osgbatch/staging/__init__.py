"""The stash: files become objects, named by their content, verified, and never written twice."""
