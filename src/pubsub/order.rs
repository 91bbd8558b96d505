//! The order in which items are asked for (XEP-0413).

/// By what items are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// When an id was first published.
    Creation,
    /// When it was published last: the order in which a node holds its items.
    #[default]
    Modification,
}

/// An order. Two items never stand at the same place in it, so the first of several orders decides alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: By,
    /// Whether the last comes first.
    pub is_descending: bool,
}
