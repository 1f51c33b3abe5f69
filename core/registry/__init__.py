"""What several processes and people must agree on: who does which work, in one database."""
