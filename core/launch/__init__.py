"""How a payload is started: by itself, as several tasks, or beside an engine that spans the nodes of its job."""
