//! org.osbuild.ostree.deploy.container: deploys a commit that a container image wraps. The build root's ostree(1) must
//! have the container commands (Debian's has not).

use serde::Deserialize;

use super::deploy::Options;
use super::image::Image;
use super::repo::{ostree, sysroot_option};
use crate::error::Result;
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Deploy {
    #[serde(flatten)]
    common: Options,
    target_imgref: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Deploy = args.options()?;
    let kernel = options.common.kernel_arguments()?;
    for image in Image::all(args)? {
        let source = image.source()?;
        let mut words: Vec<String> = ["container", "image", "deploy"].map(str::to_owned).to_vec();
        words.push(format!("--imgref=ostree-unverified-image:{}", source.reference));
        words.push(format!("--stateroot={}", options.common.osname));
        words.push(format!("--target-imgref={}", options.target_imgref));
        words.extend(kernel.iter().map(|argument| format!("--karg={argument}")));
        words.push(sysroot_option(&args.tree));
        options.common.with_mounts(args, ostree(&words))?.run()?;
    }
    Ok(())
}
