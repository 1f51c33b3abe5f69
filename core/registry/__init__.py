"""What several processes and people must agree on, in one database: who does which work, and what came of it.

`database.registry_at(home)` opens the registry of a home: SLUICEWAY_REGISTRY, else a file of SQLite in it. Tables stand
in `schema`. What they tell of files is read from the files by `files`, written by `record`, and made anew by `rebuild`:

- `runs.runs_in(connection, ...)` gives attempts with what they are of, `runs.attempt_of` one of them;
- `artifacts.artifacts_in(connection, digest=..., place=..., ...)` gives what lies where: an output itself has an empty
  name, each of its files its own row; `artifacts.inputs_of(connection, artifact)` gives the edges of an output, and
  `artifacts.made_of(connection, digest)` the outputs that were made of what has a digest;
- `events.events_after(connection, cursor)` gives what happened, oldest first.

All take a connection of `Database.reading()`. Best effort and loud, `notes` keeps all of it up to date as runs go on.
"""
