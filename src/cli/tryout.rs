//! Runs a script in a throw-away worker whose reports go to memory: what `run` and `check` are made of.
