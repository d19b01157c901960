"""Networks: the actor-critic over abstractions and the value networks of public belief states."""
