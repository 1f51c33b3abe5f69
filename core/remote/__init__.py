"""How core reaches a machine: one Shell protocol, over SSH or on this machine, and a clock."""
