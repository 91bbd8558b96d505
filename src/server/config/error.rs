//! What is wrong with a configuration, said so that it can be mended: the file, the line, the key, and the word
//! that was probably meant. Not a panic and not a log line; `main.rs` prints it and chooses the exit code.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file it stands in; none for the embedded defaults.
    pub file: Option<PathBuf>,
    /// Line in that file, counted from 1; none when the mistake has no one place.
    pub line: Option<usize>,
    /// What is wrong, naming the key.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ConfigError {
    /// A mistake without a place in a file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { file: None, line: None, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn in_file(mut self, file: Option<&Path>) -> Self {
        if self.file.is_none() {
            self.file = file.map(Path::to_path_buf);
        }
        self
    }

    /// Turns a TOML or serde error into ours: finds the line, and for an unknown word the known one nearest to it.
    pub(super) fn from_toml(error: &toml::de::Error, text: &str) -> Self {
        let mut message = error.message().trim().to_owned();
        let mut hint = None;
        if let Some((wrong, known)) = unknown_word(&message) {
            let kind = if message.starts_with("unknown field") { "key" } else { "value" };
            hint = Some(match nearest(&wrong, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            });
            message = format!("unknown {kind} `{wrong}`");
        }
        Self { file: None, line: error.span().map(|span| line_of(text, span.start)), message, hint }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The known word nearest to `wrong`, if one is near enough to have been meant.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|word| (strsim::jaro_winkler(wrong, word), word))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// The line (from 1) on which byte `offset` of `text` stands.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Takes serde's sentence apart: "unknown field `x`, expected one of `a`, `b`".
fn unknown_word(message: &str) -> Option<(String, Vec<String>)> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let mut words = message.split('`').skip(1).step_by(2).map(str::to_owned);
    let wrong = words.next()?;
    Some((wrong, words.collect()))
}
