"""No-limit Leduc whole: exact strategies of the full game that keep to an abstraction."""
