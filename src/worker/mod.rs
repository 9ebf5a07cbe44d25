//! One worker: its spec, finding scripts, the state machine, the process, the frames and the output.
