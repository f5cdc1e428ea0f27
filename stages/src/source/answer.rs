//! What curl prints about a finished transfer, and what that means.

/// A line curl wrote for a finished transfer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finished {
    /// Number of the transfer.
    pub(super) number: usize,
    /// curl's exit code for it; 0 is success.
    pub(super) exit_code: u32,
    /// HTTP status, 0 if there was none.
    pub(super) http_status: u32,
    /// How often the server sent curl on to another URL.
    redirects: u32,
    /// curl's message.
    pub(super) message: String,
}

impl Finished {
    /// Parses a line; `None` if it is something else.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim_end().splitn(5, ' ');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            exit_code: parts.next()?.parse().ok()?,
            http_status: parts.next()?.parse().ok()?,
            redirects: parts.next()?.parse().ok()?,
            message: parts.next().unwrap_or_default().to_owned(),
        })
    }

    /// What went wrong, for a message.
    pub(super) fn cause(&self) -> String {
        match (self.http_status, self.message.is_empty()) {
            (status @ 400.., _) => format!("HTTP status {status}"),
            (_, false) => format!("{} (curl error {})", self.message, self.exit_code),
            (_, true) => format!("curl error {}", self.exit_code),
        }
    }

    /// Whether trying again may help. Not for a malformed URL, an unknown protocol, a failed authentication or
    /// certificate check, or an answer of the server that says no (4xx but 408, 425 and 429), unless it is one of
    /// several mirrors that another server sent us to: the next time it may be a better one.
    pub(super) fn is_transient(&self) -> bool {
        match self.http_status {
            408 | 425 | 429 => true,
            403 | 404 | 410 if self.redirects > 0 => true,
            400..=499 => false,
            _ => !matches!(self.exit_code, 1..=4 | 37 | 43 | 51 | 53 | 54 | 58..=60 | 66 | 67 | 77 | 83 | 90 | 91),
        }
    }

    /// Whether the file left behind cannot be continued (range not satisfiable or not supported, or not resumable).
    pub(super) fn spoils_partial(&self) -> bool {
        matches!(self.exit_code, 31 | 33 | 36) || self.http_status == 416
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_sorted_into_final_and_transient() {
        let parse = |line| Finished::parse(line).expect("parses");
        let missing = parse("2 22 404 0 The requested URL returned error: 404\n");
        assert_eq!((missing.number, missing.cause().as_str()), (2, "HTTP status 404"));
        assert!(!missing.is_transient());
        assert!(parse("0 22 404 1 x").is_transient(), "another mirror may have it");
        assert!(!parse("0 22 401 1 x").is_transient());
        assert!(parse("0 22 503 0 x").is_transient());
        assert!(parse("0 28 0 0 timed out").is_transient());
        assert!(!parse("0 60 0 0 certificate").is_transient());
        assert!(parse("0 33 206 0 no ranges").spoils_partial());
        assert_eq!(parse("0 7 0 0 Failed to connect").cause(), "Failed to connect (curl error 7)");
        assert_eq!(Finished::parse("garbage"), None);
    }

    proptest! {
        #[test]
        fn what_curl_prints_never_confuses(line in "([0-9]{1,12} ){0,5}\\PC{0,20}") {
            if let Some(finished) = Finished::parse(&line) {
                prop_assert!(!finished.cause().is_empty());
            }
        }
    }
}
