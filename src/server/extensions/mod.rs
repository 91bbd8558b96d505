//! One file or folder for each protocol, and the one list of them.
//!
//! Extensions are built in an order the compiler checks: what one needs of another is an argument.

pub mod caps;
pub mod disco;
pub mod ping;
pub mod private;
pub mod register;
pub mod roster;
pub mod time;
pub mod vcard;
pub mod version;

use std::sync::Arc;

use crate::config::{Config, ConfigError, Sections};
use crate::extension::{Extension, Kit};
use crate::tables::accounts::Accounts;

/// Builds every extension. Their order is the order in which they hear of moments.
///
/// # Errors
/// When a section of the configuration does not read as its owner expects.
pub fn furnish(
    kit: &Kit,
    accounts: &Arc<Accounts>,
    config: &Config,
    _sections: &mut Sections,
) -> Result<Vec<Arc<dyn Extension>>, ConfigError> {
    Ok(vec![
        disco::Disco::new(kit),
        caps::Caps::new(kit),
        Arc::new(ping::Ping),
        Arc::new(version::Version),
        time::Time::new(kit),
        register::Register::new(kit, accounts, config),
        private::Private::new(kit, config),
        vcard::Vcard::new(kit, config),
    ])
}
