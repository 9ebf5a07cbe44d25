//! Builds all parts and stops them in order.
