//! Delivery: the trait, the only list of kinds, and the pump that acts on a sink's verdict.
