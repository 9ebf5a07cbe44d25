use std::path::Path;

use super::{Config, ConfigError, Surroundings};

pub fn read(_root: &Path, _around: &Surroundings) -> Result<Config, ConfigError> {
    todo!("config")
}
