//! The options of a subscription (XEP-0060 sections 6.3 and 16.4.2): what a submitted form makes of them.

use crate::extended::{DEPTH, Reach, TYPE};
use crate::model::{Limits, Shows, SubscriptionOptions};
use crate::refusal::Refusal;
use crate::request::Values;
use crate::time::Timestamp;

/// Whether notifications have payloads, whatever the node says: ours, since XEP-0472 leaves it to the node alone
/// (`xeps/xep-0472.md`). Named as XEP-0068 section 3.4 has fields that no registry knows.
pub const DELIVER_PAYLOADS: &str = "{urn:chirrup:pubsub:options:0}deliver_payloads";

/// Seconds before the end of a lease at which its subscriber is reminded, if it lasts longer (section 12.19).
pub const REMINDER_SECONDS: u64 = 86_400;

/// The options of a subscription, changed by a form at a moment. A lease that is asked for longer than there is, is as
/// long as there is (section 12.19).
///
/// # Errors
/// What the form holds that we do not offer.
pub fn amended(
    mut options: SubscriptionOptions,
    values: &Values,
    limits: &Limits,
    now: Timestamp,
) -> Result<SubscriptionOptions, Refusal> {
    for (var, values) in &values.0 {
        let bit = || match values.as_slice() {
            [one] if matches!(&**one, "1" | "true") => Ok(true),
            [one] if matches!(&**one, "0" | "false") => Ok(false),
            _ => Err(Refusal::InvalidOptions(format!("{var}: a boolean is expected"))),
        };
        match &**var {
            "pubsub#deliver" => options.deliver = bit()?,
            "pubsub#include_body" => options.include_body = bit()?,
            "pubsub#expire" => {
                options.expire = match values.as_slice() {
                    [] => None,
                    [one] if one.is_empty() => None,
                    [one] => match Timestamp::parse(one) {
                        Some(end) if end > now => Some(end.min(now.plus_seconds(limits.lease_seconds_max))),
                        _ => {
                            let why = format!("{var}: a DateTime that is yet to come is expected");
                            return Err(Refusal::InvalidOptions(why));
                        }
                    },
                    _ => return Err(Refusal::InvalidOptions(format!("{var}: one value is expected"))),
                }
            }
            "pubsub#show-values" => {
                let mut shows = Shows(0);
                for word in values {
                    let why = || format!("{var}: expected some of: {}", Shows::WORDS.join(", "));
                    shows.0 |= Shows::one(word).ok_or_else(|| Refusal::InvalidOptions(why()))?.0;
                }
                options.show = (shows.0 != 0).then_some(shows);
            }
            DELIVER_PAYLOADS => {
                options.has_payload = match values.as_slice() {
                    [] => None,
                    [one] if one.is_empty() => None,
                    _ => Some(bit()?),
                }
            }
            TYPE => {
                let why = || format!("{var}: expected some of: {}", Reach::WORDS.join(", "));
                options.reach = options.reach.with_kinds(values).ok_or_else(|| Refusal::InvalidOptions(why()))?;
            }
            DEPTH => {
                let depth = match values.as_slice() {
                    [one] => options.reach.with_depth(one),
                    _ => None,
                };
                let why = || format!("{var}: an integer is expected");
                options.reach = depth.ok_or_else(|| Refusal::InvalidOptions(why()))?;
            }
            // Digests do not exist, and saying so is harmless.
            "pubsub#digest" if !bit()? => {}
            _ => return Err(Refusal::InvalidOptions(format!("{var} is not an option here"))),
        }
    }
    Ok(options)
}
