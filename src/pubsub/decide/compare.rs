//! Publish only if the newest item is the one that the publisher knows (XEP-0395).
//!
//! The value to compare is made of the item's place in its node, which no other ever has, and of when its id was first
//! published, in which it differs from an item of an older node of the same name. Where there is no item, it is empty.

use crate::model::ItemHead;
use crate::refusal::Refusal;
use crate::request::Values;
use crate::time::Timestamp;

/// The field of the publish options.
const FIELD: &str = "pubsub#prev_item_cap_value";

/// The value of an item.
#[must_use]
pub fn value(sequence: u64, published: Timestamp) -> String {
    format!("{:x}-{sequence:x}", published.0)
}

/// Whether publish options ask to compare.
#[must_use]
pub fn is_compared(options: &Values) -> bool {
    options.0.iter().any(|(var, _)| &**var == FIELD)
}

/// Compares what the options ask for, and gives the other options back.
///
/// # Errors
/// [`Refusal::CompareFailed`], and `invalid-options` for more values than one.
pub(super) fn compared(options: Option<&Values>, newest: Option<&ItemHead>) -> Result<Option<Values>, Refusal> {
    let Some(options) = options else { return Ok(None) };
    let now = newest.map(|newest| value(newest.sequence, newest.published));
    for (_, values) in options.0.iter().filter(|(var, _)| &**var == FIELD) {
        let assumed = match values.as_slice() {
            [] => "",
            [one] => one.trim(),
            _ => return Err(Refusal::InvalidOptions(format!("{FIELD}: only one value is allowed"))),
        };
        if assumed != now.as_deref().unwrap_or_default() {
            return Err(Refusal::CompareFailed(now.map(Into::into)));
        }
    }
    Ok(Some(Values(options.0.iter().filter(|(var, _)| &**var != FIELD).cloned().collect())))
}
