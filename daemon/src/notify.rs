//! What forged tells systemd. Without systemd (`NOTIFY_SOCKET` not set) all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The name is claimed and calls are answered.
pub(crate) fn ready() {
    send(&NotifyState::Ready);
}

/// One line for `systemctl status`.
pub(crate) fn status(text: &str) {
    send(&NotifyState::Status(text));
}

/// forged is about to end; told before the bus name is released.
pub(crate) fn stopping() {
    send(&NotifyState::Stopping);
}

/// The driver's loop turns; only it may say so.
pub(crate) fn alive() {
    if watchdog().is_some() {
        send(&NotifyState::Watchdog);
    }
}

/// How often [`alive`] must be called at least: half of what the unit's `WatchdogSec=` allows.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn send(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}
