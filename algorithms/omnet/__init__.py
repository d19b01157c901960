"""OMNet: many subnetworks inside one network, for off-policy reinforcement learning."""
