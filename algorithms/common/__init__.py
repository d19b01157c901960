"""What several methods share: bases of algorithms and configs, tasks, loops, networks."""
