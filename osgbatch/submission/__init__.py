"""From a spec to jobs in a queue: plan, pack, stage, write, submit; and all later rounds."""
