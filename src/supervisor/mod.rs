//! The loop over all workers.
