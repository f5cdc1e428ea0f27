//! The socket on which a runner reports its own exception: `/run/osbuild/api/osbuild`.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::host::wire::Listener;
use crate::json::{Object, Value};

/// A running API server.
pub(super) struct ApiServer {
    listener: Arc<Listener>,
    error: Arc<Mutex<Value>>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    pub(super) fn start(socket: &Path) -> io::Result<Self> {
        let listener = Arc::new(Listener::bind(socket)?);
        let error = Arc::new(Mutex::new(Value::Null));
        let (acceptor, slot) = (Arc::clone(&listener), Arc::clone(&error));
        let thread = std::thread::spawn(move || {
            while let Ok(Some(connection)) = acceptor.accept() {
                while let Ok(Some(message)) = connection.receive() {
                    if message.get("method").and_then(Value::as_str) == Some("exception") {
                        let data = message.get("exception").cloned().unwrap_or_default();
                        let error = Object::new().with("type", "exception").with("data", data);
                        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Value::Object(error);
                    }
                }
            }
        });
        Ok(Self { listener, error, thread: Some(thread) })
    }

    /// Stops serving; the last exception reported, or `Null`.
    pub(super) fn finish(mut self) -> Value {
        self.stop();
        std::mem::take(&mut *self.error.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(&mut self) {
        self.listener.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}
