//! `chirrup store`: a stopped server's rows moved from one engine to another.

use std::path::PathBuf;

use clap::Subcommand;
use store::{Engine, Options};

use super::{Outcome, block_on, say};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy every row of one store into a new one, perhaps of another engine.
    ///
    /// The server's own store is the folder `store` in its data directory. To change the engine: stop the server,
    /// copy to another folder, exchange the two folders, set `store.engine`.
    Copy {
        /// The folder of the store to read.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// The folder of the store to make; must not exist or be empty.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// The engine of the new store: sled or fjall.
        #[arg(long)]
        engine: Engine,
    },
}

/// Does what the command says.
pub(super) fn run(command: StoreCommand) -> Outcome {
    let StoreCommand::Copy { from, to, engine } = command;
    if engine == Engine::Memory {
        return Err("the engine \"memory\" keeps nothing; choose sled or fjall".to_owned());
    }
    let found = Engine::of(&from).ok_or_else(|| {
        format!("{}: no store there; the server's is the folder `store` in its data directory", from.display())
    })?;
    if Engine::of(&to).is_some() {
        return Err(format!("{}: there is a store already; name a new folder", to.display()));
    }
    let options = Options::default();
    let source = store::open(found, &from, &options).map_err(|error| error.to_string())?;
    let target = store::open(engine, &to, &options).map_err(|error| error.to_string())?;
    block_on(async {
        let copied = store::copy(source.as_ref(), target.as_ref()).await;
        let closed = (source.close().await, target.close().await);
        let copied = copied.map_err(|fault| format!("{}: {fault}", to.display()))?;
        closed.0.and(closed.1).map_err(|fault| fault.to_string())?;
        say(&format!(
            "{} rows, {} bytes from {} ({found}) to {} ({engine})",
            copied.rows,
            copied.bytes,
            from.display(),
            to.display()
        ));
        Ok(())
    })
}
