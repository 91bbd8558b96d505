//! Sections of the configuration that belong to extensions.
//!
//! The server's own keys are read by [`super::Config`]; every other table of the file waits here until its owner
//! takes it. A table nobody takes is a mistake, and said to be one by [`Sections::finish`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, ValueDeserializer};

use super::ConfigError;
use super::error::{line_of, nearest};

/// The tables of the file that the server itself does not read.
#[derive(Debug, Clone, Default)]
pub struct Sections {
    file: Option<PathBuf>,
    text: Arc<str>,
    /// Name and where in the text it stands.
    waiting: BTreeMap<String, usize>,
    asked: Vec<&'static str>,
}

impl Sections {
    pub(super) fn new(file: Option<&Path>, text: &str) -> Self {
        Self { file: file.map(Path::to_path_buf), text: text.into(), ..Self::default() }
    }

    pub(super) fn keep(&mut self, name: &str, offset: usize) {
        self.waiting.insert(name.to_owned(), offset);
    }

    /// Hands over the section `[name]`, or its defaults when the file has none. To be asked once for each name.
    ///
    /// # Errors
    /// When the section does not read as `T`; unknown keys do not if `T` says `deny_unknown_fields`, as it should.
    pub fn take<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> Result<T, ConfigError> {
        self.asked.push(name);
        if self.waiting.remove(name).is_none() {
            return Ok(T::default());
        }
        // Read again rather than kept: values borrow the text they stand in, and this happens once at start.
        let section = DeTable::parse(&self.text).map(|root| root.into_inner().remove(name));
        let value = match section {
            Ok(Some(value)) => T::deserialize(ValueDeserializer::from(value)),
            Ok(None) => return Ok(T::default()),
            Err(error) => Err(error),
        };
        value.map_err(|error| {
            let mut error = ConfigError::from_toml(&error, &self.text).in_file(self.file.as_deref());
            error.message = format!("in section [{name}]: {}", error.message);
            error
        })
    }

    /// To be called when every extension has been built.
    ///
    /// # Errors
    /// When a section is left that nobody asked for.
    pub fn finish(self) -> Result<(), ConfigError> {
        let Some((name, offset)) = self.waiting.iter().next() else { return Ok(()) };
        let known = || super::OWN_KEYS.iter().chain(&self.asked).copied();
        let hint = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known().collect::<Vec<_>>().join(", ")),
        };
        let mut error = ConfigError::new(format!("unknown key or section `{name}`")).with_hint(hint);
        error.line = Some(line_of(&self.text, *offset));
        Err(error.in_file(self.file.as_deref()))
    }
}
