//! org.osbuild.write-device: copies a file of an input to the start of a device.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;

#[derive(Deserialize)]
struct Options {
    from: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let source = Location::parse(&options.from, args)?;
    let source = crate::tree::resolve(&source.root, &source.path)?;
    let device = args.device("device")?;
    let mut from = File::open(&source).doing("open", &source)?;
    let mut to = File::options().write(true).open(device).doing("open", device)?;
    let size = from.metadata().doing("inspect", &source)?.len();
    // The metadata of a device has no size.
    let room = to.seek(SeekFrom::End(0)).doing("measure", device)?;
    println!("{}: {size} bytes; {}: {room} bytes", options.from, device.display());
    if size > room {
        return Err(StageError::new(format!(
            "{} has {size} bytes, too many for {}: it has {room}",
            options.from,
            device.display()
        )));
    }
    to.rewind().doing("rewind", device)?;
    std::io::copy(&mut from, &mut to).doing("write", device)?;
    to.sync_all().doing("write", device)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_that_fits_is_written_and_the_rest_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let (input, device) = (dir.path().join("input"), dir.path().join("device"));
        std::fs::write(&input, "abc").expect("write");
        let run_on = |content: &str| {
            std::fs::write(&device, content).expect("write");
            let args: Arguments = serde_json::from_value(json!({
                "tree": "/t", "devices": {"device": {"path": device}}, "inputs": {"i": {"path": dir.path()}},
                "options": {"from": "input://i/input"}
            }))
            .expect("arguments");
            run(&args).map(|()| std::fs::read_to_string(&device).expect("read"))
        };
        assert_eq!(run_on("12345").expect("fits"), "abc45");
        assert!(run_on("12").expect_err("too small").to_string().contains("has 3 bytes"));
    }
}
