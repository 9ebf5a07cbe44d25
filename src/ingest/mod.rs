//! The HTTP endpoint where reports come in.
