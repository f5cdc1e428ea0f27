//! Getting on the bus, or onto a private connection, and off it again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use forge_dbus::names;
use futures_util::StreamExt;
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, Guid, MessageStream};

use super::manager::Manager;
use super::repository::Repository;
use crate::error::Result;
use crate::front::Front;

/// How long calls that came in before the name was released may still take.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// A connection that was quiet for so long after the release has nothing more for us.
const DRAIN_QUIET: Duration = Duration::from_millis(200);

/// Connects to the system bus and claims the name. The jobs need not be loaded yet: calls wait for them.
pub(crate) async fn on_bus(front: &Arc<Front>) -> Result<Connection> {
    let connection = with_objects(Builder::system()?, front)?.name(names::BUS_NAME)?.build().await?;
    attached(front, &connection);
    Ok(connection)
}

/// Serves one peer over a connected socket.
pub(crate) async fn to_peer(front: &Arc<Front>, stream: UnixStream) -> Result<Connection> {
    let guid = Guid::generate();
    let builder = Builder::unix_stream(stream).server(guid)?.p2p();
    let connection = with_objects(builder, front)?.build().await?;
    attached(front, &connection);
    Ok(connection)
}

/// Gives the name back, so that the bus starts a new forged for the next call, and finishes what has come in before.
pub(crate) async fn leave_bus(front: &Front, connection: &Connection) {
    match connection.release_name(names::BUS_NAME).await {
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the bus name cannot be released"),
    }
    front.touch();
    let until = Instant::now() + DRAIN_LIMIT;
    while front.quiet_for() < DRAIN_QUIET && Instant::now() < until {
        tokio::time::sleep(DRAIN_QUIET / 4).await;
    }
}

/// A job that came in while we were leaving must not lie in the queue until somebody calls: the bus is asked for the next
/// forged. Whoever runs without activation starts one by hand anyway.
pub(crate) async fn call_successor(front: &Front, connection: &Connection) {
    if front.counts() == (0, 0) {
        return;
    }
    tracing::info!("a job came in at the last moment; asking the bus for a new forged");
    let ask = async {
        let bus = zbus::fdo::DBusProxy::new(connection).await?;
        bus.start_service_by_name(zbus::names::WellKnownName::from_static_str(names::BUS_NAME)?, 0).await?;
        zbus::Result::Ok(())
    };
    // The answer would come when the successor has the name, which systemd starts only after we are gone.
    if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(1), ask).await {
        tracing::warn!(%error, "no new forged can be started; the job waits for the next call");
    }
}

fn with_objects<'a>(builder: Builder<'a>, front: &Arc<Front>) -> zbus::Result<Builder<'a>> {
    builder
        .serve_at(names::ROOT_PATH, zbus::fdo::ObjectManager)?
        .serve_at(names::ROOT_PATH, Manager { front: Arc::clone(front) })?
        .serve_at(names::LOCAL_REPOSITORY_PATH, Repository { front: Arc::clone(front) })
}

/// Every incoming call is activity; the end of the stream is the end of the connection.
fn attached(front: &Arc<Front>, connection: &Connection) {
    front.connected(connection.clone());
    let front = Arc::clone(front);
    let mut messages = MessageStream::from(connection);
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if message.message_type() == Type::MethodCall {
                front.touch();
            }
        }
        front.client_gone.store(true, Ordering::Relaxed);
        front.wake.notify_one();
    });
}
