//! Filling in `$name` and `${name}` as Python's `string.Template` does when it may leave names it does not know.

use std::collections::BTreeMap;

/// Values by name.
pub(super) type Values = BTreeMap<&'static str, String>;

/// The text with every known name replaced and `$$` turned into `$`. Everything else stays, and values are not looked
/// into: a shell variable of the text survives if nothing has its name.
pub(super) fn fill(text: &str, values: &Values) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some((value, after)) = name(rest).and_then(|(name, after)| Some((values.get(name)?, after))) {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push('$');
        }
    }
    filled.push_str(rest);
    filled
}

/// What follows a `$`: a name, with or without braces, and the text after it.
fn name(text: &str) -> Option<(&str, &str)> {
    let (inner, closing) = text.strip_prefix('{').map_or((text, ""), |inner| (inner, "}"));
    let end = inner.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let begins_well = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    Some((name, after.strip_prefix(closing)?)).filter(|_| begins_well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_the_rest_stays() {
        let values = Values::from([("a", "1".to_owned()), ("b_2", "$a".to_owned())]);
        for (text, want) in [
            ("$a ${a}x $ax", "1 1x $ax"),
            ("${b_2}!", "$a!"),
            ("$$a $${a} $$", "$a ${a} $"),
            ("${other} $other ${a", "${other} $other ${a"),
            ("5$ $1 ${1} ü$a", "5$ $1 ${1} ü1"),
            ("$", "$"),
            ("${a-}", "${a-}"),
        ] {
            assert_eq!(fill(text, &values), want, "{text}");
        }
    }
}
