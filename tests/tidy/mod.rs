//! What a compiler does not check: claims and their pages, which room imports which, how files open and how long
//! they are.
//!
//! Generated files (`xeps/README.md`, `doap.xml`) are written anew by the test that checks them, which fails once.

mod claims;
mod examples;
mod files;
mod suites;

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the checkout.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file below `folder` with the extension `ext`, in order, build output and corpora left out.
fn files_below(folder: &Path, ext: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "corpus", "data"].contains(&&*name) {
                found.extend(files_below(&path, ext));
            }
        } else if path.extension().is_some_and(|is| is == ext) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Holds a generated file against what it should be; writes it and fails if it differs.
pub fn generated(path: &Path, content: &str) {
    let is = fs::read_to_string(path).unwrap_or_default();
    if is != content {
        fs::write(path, content).unwrap();
        panic!("{} was out of date and has been written anew: look at it and commit it", path.display());
    }
}
