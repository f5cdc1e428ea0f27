//! The objects on the bus. Each mutating method asks the authority first, then checks its arguments, then makes things
//! durable, then answers.

mod details;
pub(crate) mod job;
pub(crate) mod manager;
pub(crate) mod repository;
pub(crate) mod serve;

use std::borrow::Cow;
use std::collections::HashMap;

use zbus::Connection;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::Value;

/// Emits one `PropertiesChanged` for all of `changed`; nothing if it is empty.
async fn properties_changed(
    connection: &Connection,
    path: &str,
    interface: &'static str,
    changed: HashMap<&str, Value<'_>>,
) -> zbus::Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let emitter = SignalEmitter::new(connection, path)?;
    let interface = InterfaceName::from_static_str(interface)?;
    zbus::fdo::Properties::properties_changed(&emitter, interface, changed, Cow::Borrowed(&[])).await
}
