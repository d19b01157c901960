"""The games that the abstraction MDP is played on, and what `env_config` may change of each."""
