//! Opening the store that the configuration names: the folder `store` in the data directory.

use std::path::PathBuf;
use std::sync::Arc;

use store::{Engine, Options, Store};

use crate::config::{Config, StoreEngine, make_private_folder};

/// Where the store of a data directory is.
pub fn store_directory(config: &Config) -> PathBuf {
    config.data_directory.join("store")
}

/// Opens the store, and makes it when there is none.
///
/// # Errors
/// A sentence that names the directory and says what to do.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, String> {
    make_private_folder(&config.data_directory).map_err(|error| {
        let name = config.data_directory.display();
        format!("{name}: the data directory cannot be made: {error}; change `data_directory`, or who runs the server")
    })?;
    open(config).await
}

/// Opens the store only when there is one already.
///
/// # Errors
/// As [`open_store`], and when there is none.
pub async fn open_existing_store(config: &Config) -> Result<Arc<dyn Store>, String> {
    let directory = store_directory(config);
    if Engine::of(&directory).is_none() {
        return Err(format!("{}: no store there", directory.display()));
    }
    open(config).await
}

async fn open(config: &Config) -> Result<Arc<dyn Store>, String> {
    let engine = match config.store.engine {
        StoreEngine::Memory => Engine::Memory,
        StoreEngine::Sled => Engine::Sled,
        StoreEngine::Fjall => Engine::Fjall,
    };
    let directory = store_directory(config);
    let options = Options { engine_cache_bytes: config.store.cache_bytes, ..Options::default() };
    tokio::task::spawn_blocking(move || store::open(engine, &directory, &options))
        .await
        .map_err(|error| format!("opening the store ended early: {error}"))?
        .map_err(|error| error.to_string())
}
