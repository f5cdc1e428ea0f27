//! org.osbuild.chattr: sets or clears the immutable flag, by chattr(1) of the build root.

use std::ffi::OsStr;

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;

#[derive(Deserialize)]
struct Options {
    items: Ordered<Item>,
}

#[derive(Deserialize)]
struct Item {
    immutable: bool,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (location, item) in &options.items.0 {
        let path = Location::parse(location, args)?.resolve()?;
        child::run(&[OsStr::new("chattr"), OsStr::new(flag(item)), path.as_os_str()])?;
    }
    Ok(())
}

fn flag(item: &Item) -> &'static str {
    if item.immutable { "+i" } else { "-i" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_flag_follows_the_option() {
        let options: Options = serde_json::from_value(
            json!({"items": {"tree:///a": {"immutable": true}, "tree:///b": {"immutable": false}}}),
        )
        .expect("options");
        let flags: Vec<_> = options.items.0.iter().map(|(_, item)| flag(item)).collect();
        assert_eq!(flags, ["+i", "-i"]);
    }

    #[test]
    fn items_must_be_given() {
        assert!(run(&crate::stage::osbuild::arguments("/t".as_ref(), json!({}))).is_err());
        assert!(
            run(&crate::stage::osbuild::arguments(
                "/t".as_ref(),
                json!({"items": {"mount://no/": {"immutable": true}}})
            ))
            .is_err()
        );
    }
}
