//! apt preferences of a repository with a priority.

use std::fmt::Write as _;

use super::Repository;

impl Repository {
    /// The apt preferences of a repository with a priority: all that comes from its hosts.
    pub(crate) fn pins(&self) -> Option<String> {
        let priority = self.priority?;
        let mut hosts: Vec<&str> = self
            .uris
            .iter()
            .filter_map(|uri| uri.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest)))
            .map(|host| host.rsplit_once('@').map_or(host, |(_, host)| host))
            .map(|host| host.split(':').next().unwrap_or(host))
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut text = String::new();
        for host in hosts {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "Package: *\nPin: origin \"{host}\"\nPin-Priority: {priority}\n");
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SignedBy;
    use super::*;

    #[test]
    fn pins_name_the_host_only() {
        let repository = Repository {
            id: "x".to_owned(),
            uris: vec!["https://user:word@example.org:8080/debian".to_owned(), "https://example.org/more".to_owned()],
            suites: vec![],
            components: vec![],
            signed_by: SignedBy::Path("/x".to_owned()),
            priority: Some(700),
            install_from: true,
        };
        assert_eq!(repository.pins().unwrap(), "Package: *\nPin: origin \"example.org\"\nPin-Priority: 700\n\n");
    }
}
