"""What `osgbatch doctor` looks at; one module for each group of checks, which knows no other."""
