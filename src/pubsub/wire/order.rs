//! `<order xmlns='urn:xmpp:order-by:1'/>` (XEP-0413), in what asks for items and in what asks an archive.

use xmpp::{Element, ns};

use crate::order::{By, Order};
use crate::refusal::Refusal;

/// Levels of ordering in one request.
const ORDERS_MAX: usize = 8;

/// The order that `parent` asks for, if it does.
///
/// # Errors
/// For an order that does not exist, and for too many.
pub fn order(parent: &Element) -> Result<Option<Order>, Refusal> {
    let mut decided = None;
    for (at, order) in parent.children().filter(|child| child.is("order", ns::ORDER_BY)).enumerate() {
        let by = match order.attr("by") {
            Some("creation") => By::Creation,
            Some("modification") => By::Modification,
            _ => return Err(Refusal::Malformed("Items are ordered by creation or by modification.")),
        };
        if at >= ORDERS_MAX {
            return Err(Refusal::Malformed("There are too many orders."));
        }
        if at == 0 {
            decided = Some(Order { by, is_descending: matches!(order.attr("desc"), Some("1" | "true")) });
        }
    }
    Ok(decided)
}
