//! Sizes as people write them: `20 GiB`, `500MB`, `4096`.

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Bytes in a text such as `20 GiB`; `None` if it is none or does not fit.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start();
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(factor)
}

/// The shortest exact text for `bytes` with binary units; [`parse_size`] reads it back.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let binary = UNITS[2..6].iter().rev();
    match binary.into_iter().find(|(_, factor)| bytes >= *factor && bytes % factor == 0) {
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_texts() {
        assert_eq!(parse_size("20 GiB"), Some(20 << 30));
        assert_eq!(parse_size("20GiB"), Some(20 << 30));
        assert_eq!(parse_size("500 MB"), Some(500_000_000));
        assert_eq!(parse_size("4096"), Some(4096));
        for wrong in ["", "GiB", "-1", "1.5 GiB", "20 gib", "20 GiB x", "99999999999 TiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in any::<u64>(), shift in 0u32..50) {
            let bytes = (bytes >> shift) << shift;
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_size(&text);
        }
    }
}
