//! The HTTP endpoint where reports come in: DataKit's write API over TCP and a Unix socket, and rows over the sockets of the workers.
//!
//! A request goes through `guard` (who may ask), `write` or `rows` (body to kept record) and `reply` (every way to say no). A 2xx is sent only
//! after [`PointStore::keep`] has returned, and that returns only when the record is on disk.

mod account;
mod body;
mod budget;
mod endpoint;
pub mod guard;
mod intake;
mod keep;
mod lasterror;
mod query;
pub mod repairs;
pub mod reply;
pub mod reported;
mod router;
mod rows;
pub mod server;
mod several;
mod turns;
mod write;

pub use endpoint::{EndpointSettings, WriteEndpoint};
pub use keep::PointStore;
pub use reported::LastErrors;
pub use router::router;
