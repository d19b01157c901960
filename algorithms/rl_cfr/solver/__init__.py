"""Counterfactual regret minimisation: public trees, walks, variants, hold'em."""
