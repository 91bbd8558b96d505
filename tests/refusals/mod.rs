//! Refusals: everything that servers and people which lie, stall, flood or are merely broken may try, and what they get
//! for it.
//!
//! Tables to be read. A row says what the other server does, what it is told, and what people here notice; `docs/refusals.md` is
//! made of the same rows. Each is played against a whole house with TLS and certificates on pipes and paused time; the
//! other server is written by hand and shares nothing with the house's own streams. In each, a house that has done
//! nothing wrong has a link with ours, and must keep it.

mod archives;
mod called;
mod caller;
mod calling;
mod certificates;
mod components;
mod crowd;
mod inbound;
mod logins;
mod montague;
mod nodes;
mod outbound;
mod page;
mod plays;
mod posts;
mod street;
mod timelines;
mod wire;

use caller::Inbound;
use calling::Outbound;

/// Plays rows one after the other, and tells all that are not as they say.
async fn play_inbound(rows: &[Inbound]) {
    let mut wrong = Vec::new();
    for row in rows {
        if let Err(why) = row.play().await {
            wrong.push(format!("{}: {why}", row.when));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

async fn play_outbound(rows: &[Outbound]) {
    let mut wrong = Vec::new();
    for row in rows {
        if let Err(why) = row.play().await {
            wrong.push(format!("{}: {why}", row.when));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

macro_rules! inbound {
    ($($name:ident),*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            play_inbound(inbound::$name::ROWS).await;
        })*
    };
}

inbound!(certificates_shown_to_us, negotiation, dialback, stanzas);

macro_rules! outbound {
    ($($name:ident),*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            play_outbound(outbound::$name::ROWS).await;
        })*
    };
}

outbound!(certificates_they_show, negotiating, names, stanzas_they_send);
