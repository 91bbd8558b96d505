//! How it is written: an incremental, bounded, strict reader and a writer that can splice finished bytes.
//!
//! Reading has two steps. The [`Framer`] finds where the stream header and each top-level element end; it
//! looks at markup only as far as that needs. The strict pass (`strict`) then reads one whole element once
//! and refuses what is not well-formed XML 1.0 with namespaces, or what RFC 6120 section 11.1 forbids. The
//! same pass feeds a tree ([`parse_element`]) or the spans of a stanza ([`crate::stanza`]).

mod attribute;
mod chars;
mod context;
mod error;
mod framer;
mod header;
mod strict;
mod tree;
mod write;

pub use attribute::WithAttribute;
pub(crate) use chars::is_whitespace;
pub use context::Context;
pub use error::XmlError;
pub use framer::{Frame, Framer};
pub use header::StreamHeader;
/// The tree of one element, where somebody needs a tree.
pub use minidom::{Element, ElementBuilder};
pub(crate) use strict::{Sink, Tag, read};
pub(crate) use tree::{build, text_of};
pub use tree::{parse_element, parse_element_in, set_attr, set_lang};
pub(crate) use write::write_attr;
pub(crate) use write::write_nodes;
pub use write::{element_bytes, escape_attr, escape_text, write_element};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::generated;
