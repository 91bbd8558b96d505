//! How it is written: an incremental, bounded, strict reader and a writer that can splice finished bytes.

/// The tree of one element, where somebody needs a tree.
pub use minidom::Element;
