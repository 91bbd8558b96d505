//! `chirrup demo`.
use super::Outcome;
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {}
pub(super) fn run(_: &DemoArgs) -> Outcome {
    Ok(())
}
